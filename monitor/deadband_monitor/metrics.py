"""Every statistic that deadband computes, declared once: name, meaning, unit, scale, healthy band.

Columns of samples, gauges, heat maps, help and docs are all built from these two tables. The order
is the order of the columns in samples; new ones are appended, and readers go by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One statistic of a layer or of a model."""

    name: str
    """Name in samples, evidence and JSON: `out_variance`."""
    title: str
    """Name on screen, at most 14 characters."""
    doc: str
    """What it is, in one line, with its formula where it has one."""
    log: bool = False
    """Drawn on a logarithmic scale."""
    low: float = -inf
    """Lower end of the healthy band: drawn, never judged by (the rules have their own tests)."""
    high: float = inf
    """Upper end of the healthy band."""
    floor: float = 0.0
    """Lower end of the drawn scale."""
    ceiling: float = 1.0
    """Upper end of the drawn scale."""
    worst: str = "low"
    """Which end is the bad one: `low`, `high` or `both`."""


# Tables: the figures of a metric stand in one line.
# fmt: off
LAYER_METRICS: tuple[Metric, ...] = (
    Metric(
        name="out_variance",
        title="out variance",
        doc="share of the output's second moment that depends on the sample (rho); 0 = all alike",
        log=True, low=1e-3, floor=1e-9, ceiling=1.0, worst="low",
    ),
    Metric(
        name="out_rms",
        title="out rms",
        doc="root mean square of the output",
        log=True, low=1e-4, high=1e3, floor=1e-8, ceiling=1e6, worst="both",
    ),
    Metric(
        name="participation",
        title="participation",
        doc="participation ratio of the output: directions in use, tr(K)^2 / |K|_F^2",
        log=True, low=1.05, floor=1.0, ceiling=64.0, worst="low",
    ),
    Metric(
        name="saturation",
        title="saturation",
        doc="share of elements on a flat end of the activation function",
        high=0.75, worst="high",
    ),
    Metric(
        name="saturated_units",
        title="stuck units",
        doc="share of units saturated on > 95 % of rows, on one side on > 98 %: they carry no bit",
        high=0.5, worst="high",
    ),
    Metric(
        name="dead_units",
        title="dead units",
        doc="share of ReLU-like units with no positive output in the last 10 samples",
        high=0.5, worst="high",
    ),
    Metric(
        name="zero_share",
        title="zeros",
        doc="share of outputs that are exactly zero",
        high=0.97, worst="high",
    ),
    Metric(
        name="nonfinite",
        title="non-finite",
        doc="share of NaN or infinite elements in output, weight or gradient, whichever is largest",
        high=0.0, worst="high",
    ),
    Metric(
        name="out_grad_rms",
        title="out gradient",
        doc="root mean square of the loss gradient with respect to the layer's output",
        log=True, low=1e-12, high=1e3, floor=1e-12, ceiling=1e3, worst="both",
    ),
    Metric(
        name="weight_rms",
        title="weight rms",
        doc="root mean square of the weight",
        log=True, low=1e-4, high=1e2, floor=1e-6, ceiling=1e3, worst="both",
    ),
    Metric(
        name="weight_spread",
        title="weight spread",
        doc="sd of the weight times sqrt(3 fan_in): 1 = PyTorch's default, 2.45 = He; 0 = alike",
        log=True, low=0.1, high=30.0, floor=1e-3, ceiling=1e3, worst="both",
    ),
    Metric(
        name="weight_growth",
        title="weight growth",
        doc="rms of the weight over its rms when watching began",
        log=True, low=0.5, high=10.0, floor=1e-3, ceiling=1e3, worst="both",
    ),
    Metric(
        name="weight_drift",
        title="weight drift",
        doc="|W - W0| / |W0| since watching began",
        log=True, high=30.0, floor=1e-6, ceiling=1e3, worst="high",
    ),
    Metric(
        name="duplicate_units",
        title="twin units",
        doc="share of units whose weights point the same way as another's (cosine > 0.999)",
        high=0.5, worst="high",
    ),
    Metric(
        name="duplicate_grads",
        title="twin gradients",
        doc="share of units whose weight gradients point the same way as another's",
        high=0.9, worst="high",
    ),
    Metric(
        name="grad_rms",
        title="gradient",
        doc="root mean square of the weight gradient",
        log=True, low=1e-10, high=1e2, floor=1e-12, ceiling=1e3, worst="both",
    ),
    Metric(
        name="update_ratio",
        title="update ratio",
        doc="rms of one step's weight change over max(rms of the weight, 1/sqrt(3 fan_in))",
        log=True, low=1e-7, high=0.3, floor=1e-8, ceiling=10.0, worst="both",
    ),
    Metric(
        name="bias_mean",
        title="bias mean",
        doc="mean of the bias",
        low=-5.0, high=5.0, floor=-10.0, ceiling=10.0, worst="both",
    ),
    Metric(
        name="cosine",
        title="cosine",
        doc="mean cosine between the outputs for two samples; 1 = all point the same way",
        floor=-1.0, high=0.999, worst="high",
    ),
    Metric(
        name="token_similarity",
        title="token cosine",
        doc="mean cosine between positions inside a sample; 1 = all tokens alike",
        floor=-1.0, high=0.999, worst="high",
    ),
    Metric(
        name="active_units",
        title="active units",
        doc="units whose across-sample variance is above 0.01 (Burda et al. 2016), as a share",
        low=0.01, worst="low",
    ),
    Metric(
        name="mean_slope",
        title="mean slope",
        doc="mean slope of a saturating activation, largest = 1: how much gradient passes",
        log=True, low=1e-3, floor=1e-6, ceiling=1.0, worst="low",
    ),
    Metric(
        name="choice_entropy",
        title="choices",
        doc="softmax layers: entropy of which unit wins, over the most it can be; 0 = one always",
        low=0.3, worst="low",
    ),
    Metric(
        name="has_grad",
        title="has gradient",
        doc="1 where the trainable weight got a gradient in this step, 0 where it got none",
        low=1.0, worst="low",
    ),
    Metric(
        name="grad_left",
        title="old gradient",
        doc="share of the gradient of the step before that is still in this step's (1 = all)",
        high=0.5, worst="high",
    ),
    Metric(
        name="grad_cosine",
        title="gradient turn",
        doc="cosine of this step's weight gradient and the last one's; consecutive steps only",
        floor=-1.0, worst="both",
    ),
    Metric(
        name="update_cosine",
        title="update turn",
        doc="cosine of this step's weight change and the last one's; -1 = to and fro",
        floor=-1.0, low=-0.9, worst="low",
    ),
    Metric(
        name="pull_to_zero",
        title="pull to zero",
        doc="cosine of the weight change and minus the weight; 1 = the step only shrinks it",
        floor=-1.0, high=0.9, worst="high",
    ),
    Metric(
        name="norm_shift",
        title="norm shift",
        doc="batch norm: (batch mean - running mean)^2 / running variance, median of channels",
        log=True, high=1.0, floor=1e-4, ceiling=1e2, worst="high",
    ),
    Metric(
        name="norm_ratio",
        title="norm ratio",
        doc="batch norm: batch variance over running variance, median of channels",
        log=True, low=0.3, high=5.0, floor=1e-3, ceiling=1e3, worst="both",
    ),
    Metric(
        name="attention_entropy",
        title="attention",
        doc="entropy of the attention rows over ln of the keys they see, mean of rows and heads",
        low=0.05, worst="low",
    ),
    Metric(
        name="attention_logit",
        title="attention max",
        doc="largest absolute attention logit",
        log=True, high=100.0, floor=1e-2, ceiling=1e4, worst="high",
    ),
    Metric(
        name="norm_values",
        title="norm values",
        doc="batch norm: values that a channel is normalised over, samples times positions",
        log=True, low=3.0, floor=1.0, ceiling=1e4, worst="low",
    ),
    Metric(
        name="norm_test_shift",
        title="test shift",
        doc="batch norm: the same for a batch that ran in train() without gradients: an evaluation",
        log=True, high=0.2, floor=1e-4, ceiling=1e2, worst="high",
    ),
)

MODEL_METRICS: tuple[Metric, ...] = (
    Metric(
        name="out_variance",
        title="out variance",
        doc="dependence ratio rho of the model's output, see the layer statistic",
        log=True, low=1e-3, floor=1e-9, ceiling=1.0, worst="low",
    ),
    Metric(
        name="out_rms",
        title="out rms",
        doc="root mean square of the model's output",
        log=True, high=1e3, floor=1e-8, ceiling=1e6, worst="high",
    ),
    Metric(
        name="out_sd",
        title="out sd",
        doc="root of the mean over columns of the across-sample variance of the output",
        log=True, floor=1e-8, ceiling=1e4, worst="low",
    ),
    Metric(
        name="information",
        title="information",
        doc="classification: mutual information of prediction and input over label entropy (I/H)",
        low=0.01, worst="low",
    ),
    Metric(
        name="top_share",
        title="top class",
        doc="share of samples that get the most frequent prediction",
        high=0.999, worst="high",
    ),
    Metric(
        name="distinct_predictions",
        title="classes seen",
        doc="number of different predictions in the sample",
        log=True, low=2, floor=1, ceiling=1000, worst="low",
    ),
    Metric(
        name="label_entropy",
        title="label entropy",
        doc="entropy of the labels seen in a window of 2000, nats; needs labels",
        floor=0.0, ceiling=7.0, worst="low",
    ),
    Metric(
        name="batch_label_entropy",
        title="batch labels",
        doc="entropy of the labels of this batch over that of the window; 0 where all are alike",
        low=0.35, worst="low",
    ),
    Metric(
        name="sigma_share",
        title="sigma share",
        doc="regression: sd of the output over sd of the target, median of columns",
        low=0.1, high=3.0, ceiling=2.0, worst="low",
    ),
    Metric(
        name="skill",
        title="skill",
        doc="1 - loss / loss of the best constant prediction, smoothed; 0 = as good as constant",
        low=0.05, floor=-1.0, ceiling=1.0, worst="low",
    ),
    Metric(
        name="loss",
        title="loss",
        doc="loss of this step",
        log=True, floor=1e-4, ceiling=1e2, worst="high",
    ),
    Metric(
        name="loss_constant",
        title="constant loss",
        doc="loss of the best constant prediction, from the labels seen",
        log=True, floor=1e-4, ceiling=1e2, worst="high",
    ),
    Metric(
        name="grad_norm",
        title="gradient norm",
        doc="norm of all weight gradients, from the sampled elements scaled up",
        log=True, low=1e-8, high=1e3, floor=1e-8, ceiling=1e6, worst="both",
    ),
    Metric(
        name="update_ratio",
        title="update ratio",
        doc="largest update ratio of any layer",
        log=True, low=1e-7, high=0.3, floor=1e-8, ceiling=10.0, worst="both",
    ),
    Metric(
        name="in_variance",
        title="in variance",
        doc="dependence ratio rho of the input; low = a constant offset dominates it",
        log=True, low=0.02, floor=1e-9, ceiling=1.0, worst="low",
    ),
    Metric(
        name="in_rms",
        title="in rms",
        doc="root mean square of the input",
        log=True, low=1e-3, high=1e2, floor=1e-6, ceiling=1e6, worst="both",
    ),
    Metric(
        name="in_max",
        title="in max",
        doc="largest absolute input value",
        log=True, high=100.0, floor=1e-3, ceiling=1e8, worst="high",
    ),
    Metric(
        name="in_scale_spread",
        title="in spread",
        doc="largest over median sd of an input feature",
        log=True, high=100.0, floor=1.0, ceiling=1e6, worst="high",
    ),
    Metric(
        name="in_top_share",
        title="in top feature",
        doc="share of the input's second moment that its largest feature holds",
        high=0.9, worst="high",
    ),
    Metric(
        name="in_duplicates",
        title="in duplicates",
        doc="share of input rows that repeat another row of the sample",
        high=0.5, worst="high",
    ),
    Metric(
        name="nonfinite",
        title="non-finite",
        doc="share of NaN or infinite elements in the input, the output or the loss",
        high=0.0, worst="high",
    ),
    Metric(
        name="lr",
        title="learning rate",
        doc="learning rate of the first parameter group",
        log=True, floor=1e-8, ceiling=10.0, worst="high",
    ),
    Metric(
        name="cosine",
        title="cosine",
        doc="mean cosine between the outputs for two samples; 1 = all point the same way",
        floor=-1.0, high=0.9999, worst="high",
    ),
    Metric(
        name="participation",
        title="participation",
        doc="participation ratio of the output: directions in use, tr(K)^2 / |K|_F^2",
        log=True, low=1.0, floor=1.0, ceiling=64.0, worst="low",
    ),
    Metric(
        name="effective_rank",
        title="effective rank",
        doc="exp of the entropy of the output's singular values (RankMe, arXiv:2210.02885)",
        log=True, low=1.0, floor=1.0, ceiling=64.0, worst="low",
    ),
    Metric(
        name="prediction_entropy",
        title="choices",
        doc="entropy of the predicted classes of the sample, nats",
        floor=0.0, ceiling=7.0, worst="low",
    ),
    Metric(
        name="bias_distance",
        title="off bias",
        doc="rms(output - last bias) / rms(output); below 0.01 the output is the bias alone",
        log=True, low=0.01, floor=1e-6, ceiling=10.0, worst="low",
    ),
    Metric(
        name="grad_slope",
        title="gradient slope",
        doc="decades by which rms gradients of weight matrices change a layer towards the output",
        floor=-3.0, ceiling=3.0, low=-1.0, high=1.0, worst="both",
    ),
    Metric(
        name="grad_share",
        title="with gradient",
        doc="share of the trainable weights that got a gradient",
        low=1.0, worst="low",
    ),
    Metric(
        name="moved_share",
        title="moved",
        doc="share of the trainable weights that this step changed",
        low=1.0, worst="low",
    ),
    Metric(
        name="coupling",
        title="coupling",
        doc="regression: how the loss gradient goes with the output; 1 = targets are ignored",
        floor=-1.0, high=0.99, worst="high",
    ),
    Metric(
        name="target_mean",
        title="target mean",
        doc="mean of the targets of the window",
        floor=-10.0, ceiling=10.0, worst="both",
    ),
    Metric(
        name="target_sd",
        title="target sd",
        doc="standard deviation of the targets of the window",
        log=True, low=0.1, high=10.0, floor=1e-4, ceiling=1e4, worst="both",
    ),
    Metric(
        name="target_kurtosis",
        title="target tails",
        doc="kurtosis of the targets of the window; 3 = normal, above 20 a few outliers rule",
        log=True, high=20.0, floor=1.0, ceiling=1e3, worst="high",
    ),
    Metric(
        name="target_min",
        title="target min",
        doc="smallest target of the window",
        floor=-10.0, ceiling=10.0, worst="both",
    ),
    Metric(
        name="target_max",
        title="target max",
        doc="largest target of the window",
        floor=-10.0, ceiling=10.0, worst="both",
    ),
    Metric(
        name="out_min",
        title="out min",
        doc="smallest element of the output",
        floor=-10.0, ceiling=10.0, worst="both",
    ),
    Metric(
        name="out_max",
        title="out max",
        doc="largest element of the output",
        floor=-10.0, ceiling=10.0, worst="both",
    ),
    Metric(
        name="row_sum_error",
        title="row sums",
        doc="largest |sum of an output row - 1|: 0 where a softmax (or its log) was applied",
        log=True, floor=1e-7, ceiling=1e3, worst="both",
    ),
    Metric(
        name="column_sum_error",
        title="column sums",
        doc="largest |sum of an output column - 1|: 0 where a softmax went over the batch",
        log=True, floor=1e-7, ceiling=1e3, worst="both",
    ),
    Metric(
        name="majority_share",
        title="majority",
        doc="share of the labels of the window that are of the most frequent class",
        high=0.9, worst="high",
    ),
    Metric(
        name="majority_predicted",
        title="majority said",
        doc="share of the sample that is predicted to be of that class",
        high=0.99, worst="high",
    ),
    Metric(
        name="neighbour_agreement",
        title="neighbours",
        doc="how far the nearest input's label tells an input's own: 0 = chance, 1 = always",
        floor=-0.2, low=0.05, worst="low",
    ),
    Metric(
        name="eval_loss",
        title="eval loss",
        doc="mean loss of the evaluation passes since the last sample",
        log=True, floor=1e-4, ceiling=1e2, worst="high",
    ),
    Metric(
        name="diversity",
        title="diversity",
        doc="mean distance between this model's outputs over that between the other's inputs (GAN)",
        log=True, low=0.3, floor=1e-3, ceiling=3.0, worst="low",
    ),
    Metric(
        name="in_constant",
        title="in constant",
        doc="share of input features that are the same in all rows",
        high=0.9, worst="high",
    ),
    Metric(
        name="in_repeat",
        title="in repeated",
        doc="share of the input rows that the sample before held too",
        high=0.9, worst="high",
    ),
    Metric(
        name="in_distinct",
        title="in distinct",
        doc="share of the last 2000 input rows that are different rows",
        low=0.05, worst="low",
    ),
    Metric(
        name="skipped",
        title="skipped",
        doc="share of the last 20 sampled steps whose update a GradScaler left out",
        high=0.2, worst="high",
    ),
    Metric(
        name="squashed",
        title="squashed twice",
        doc="what the gradient says of the way from output to loss: 0 right, 1 squashed again, "
        "2 over the batch, 3 not at all, 4 without a logarithm, 5 squared error of a softmax, "
        "6 values behind a ReLU, 7 behind a sigmoid, 8 behind a tanh, 9 positions as classes, "
        "10 class numbers as the target of every column, 11 values behind a softmax, "
        "12 logits that a penalty holds within 1, 13 values behind a clamp to 0..1, 14 to -1..1, "
        "15 a loss of values whose sign is turned",
        high=0.0, worst="high",
    ),
    Metric(
        name="further_loss",
        title="further loss",
        doc="what is added to the loss function's own value before it is back-propagated",
        log=True, floor=1e-4, ceiling=1e2, worst="high",
    ),
    Metric(
        name="class_numbers",
        title="class numbers",
        doc="how far beyond the next number the nearest input with another one lies, over chance, "
        "where near inputs share whole numbers: 0 = a quantity, 1 = they number classes",
        high=0.5, worst="high",
    ),
    Metric(
        name="rare_recall",
        title="rare recall",
        doc="share of the rows of less frequent classes that are answered right, mean of classes",
        low=0.5, worst="low",
    ),
    Metric(
        name="in_rows",
        title="in rows",
        doc="number of different rows among the last 2000 input rows",
        log=True, low=32.0, floor=1.0, ceiling=2000.0, worst="low",
    ),
    Metric(
        name="in_per_feature",
        title="rows/feature",
        doc="that number over the features of a row; below 2 labels of any kind can be fitted",
        log=True, low=2.0, floor=1e-2, ceiling=1e3, worst="low",
    ),
    Metric(
        name="open_share",
        title="left open",
        doc="share of the best constant answer's loss that soft labels (grey pixels, smoothed "
        "classes) have themselves: no answer takes it away",
        high=0.9, worst="high",
    ),
    Metric(
        name="in_groups",
        title="in groups",
        doc="number of groups of near copies that the input rows fall into, where they do",
        log=True, low=32.0, floor=1.0, ceiling=512.0, worst="low",
    ),
    Metric(
        name="rare_rows",
        title="rare rows",
        doc="different rows of a class beside the one that rules, mean of classes; 8 are learnt "
        "by heart",
        log=True, low=8.0, floor=1.0, ceiling=32.0, worst="low",
    ),
    Metric(
        name="outnumbered",
        title="outnumbered",
        doc="labels of the class that rules for each of another class, mean of classes",
        log=True, high=50.0, floor=1.0, ceiling=1e4, worst="high",
    ),
)

# fmt: on

LAYER_COLUMN = {metric.name: column for column, metric in enumerate(LAYER_METRICS)}
"""Name -> column in `Sample.layers`."""
MODEL_COLUMN = {metric.name: column for column, metric in enumerate(MODEL_METRICS)}
"""Name -> column in `Sample.models`."""
