"""Every symptom and cause in words, for screens, help and reports. Declared once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One symptom or cause."""

    word: str
    """As in flags, reports and JSON: `dead-units`."""
    title: str
    """On screen, at most 28 characters."""
    meaning: str
    """What it is, in one sentence."""
    remedy: str
    """What to try first."""
    demo: str = ""
    """The bundled demo that shows it."""


SYMPTOMS: tuple[Entry, ...] = (
    Entry(
        word="output-collapse",
        title="Output collapse",
        meaning="The output is the same whatever the input, or has lost what it had learnt.",
        remedy="Look at the first layer whose output variance falls to zero, and what came first.",
        demo="lr-too-high",
    ),
    Entry(
        word="constant-predictor",
        title="Constant predictor",
        meaning="The predictions are no better than one fixed answer, and are not improving.",
        remedy="Train on 32 samples to zero loss; if that fails too, model or pipeline is broken.",
        demo="constant-init",
    ),
    Entry(
        word="saturation",
        title="Saturated layer",
        meaning="Most units of a layer sit on one flat end of their activation for every sample.",
        remedy="Smaller weights and biases, normalised inputs, or an activation without flat ends.",
        demo="saturated-sigmoid",
    ),
    Entry(
        word="dead-units",
        title="Dead units",
        meaning="The units of a layer never fire: nothing passes, and no gradient comes back.",
        remedy="Zero biases, He initialisation, LeakyReLU; a lower rate if that killed them.",
        demo="dying-relu",
    ),
    Entry(
        word="duplicate-units",
        title="Twin units",
        meaning="The units of a layer have the same weights and gradients: it is one unit wide.",
        remedy="Draw the weights at random.",
        demo="constant-init",
    ),
    Entry(
        word="vanishing-gradient",
        title="Vanishing gradient",
        meaning="No gradient, or next to none, reaches the first layers: they do not learn.",
        remedy="He or Xavier initialisation, residual connections, normalisation, ReLU.",
        demo="saturated-sigmoid",
    ),
    Entry(
        word="exploding-gradient",
        title="Exploding gradient",
        meaning="The gradient norm jumped to a new level and the loss rose with it.",
        remedy="Clip the gradient norm at 1.0, warm the learning rate up, lower it.",
        demo="lr-too-high",
    ),
    Entry(
        word="non-finite",
        title="NaN or infinity",
        meaning="A weight, activation, gradient or the loss is no longer a finite number.",
        remedy="Find the first layer that shows it; lower the learning rate or clip gradients.",
        demo="lr-too-high",
    ),
    Entry(
        word="update-too-large",
        title="Update too large",
        meaning="One optimiser step changed a weight by a large part of itself.",
        remedy="Divide the learning rate by the update ratio over 0.01.",
        demo="lr-too-high",
    ),
    Entry(
        word="weight-collapse",
        title="Weights shrink to zero",
        meaning="All weight matrices shrink, or many to nothing: something pulls them to zero.",
        remedy="Divide weight decay or the penalty by 10.",
    ),
    Entry(
        word="loss-divergence",
        title="Loss diverges",
        meaning="The loss stands above its start and above what a constant answer would give.",
        remedy="Lower the learning rate; go back to the last checkpoint before the rise.",
        demo="lr-too-high",
    ),
    Entry(
        word="frozen-weights",
        title="Weights stand still",
        meaning="Weights that are to be trained do not move, or next to nothing.",
        remedy="Compare the optimiser's parameters with the model's; look for detach and no_grad.",
    ),
    Entry(
        word="loss-plateau",
        title="Loss on a plateau",
        meaning="The loss stands at a value that it cannot leave, or should have left by now.",
        remedy="Give the loss what it expects (raw logits); else more width, or another rate.",
    ),
    Entry(
        word="weight-divergence",
        title="Weights grow without end",
        meaning="A weight matrix grows and grows while nothing is learnt by it.",
        remedy="Lower the learning rate, clip the gradient norm, clear gradients at each step.",
    ),
    Entry(
        word="overfitting",
        title="Overfitting",
        meaning="The loss falls in training and rises, or stays bad, on data not trained on.",
        remedy="Stop at the lowest evaluation loss; more data, weight decay 1e-4, dropout 0.1-0.5.",
    ),
    Entry(
        word="input-anomaly",
        title="Odd inputs",
        meaning="The inputs are all alike, tiny, huge, sorted by label, or changed in mid-run.",
        remedy="Standardise each feature with the training set's mean and standard deviation.",
        demo="unnormalised-inputs",
    ),
    Entry(
        word="representation-collapse",
        title="Representation collapse",
        meaning="What the layers carry is gone, alike for all inputs, or no longer used.",
        remedy="Look at the layer named first: what feeds it, what its loss rewards.",
    ),
    Entry(
        word="attention-collapse",
        title="Attention collapse",
        meaning="Heads fix on one key within a few steps, or the tokens of a sample become alike.",
        remedy="Warm-up and a lower rate, QK-norm; residuals around every attention block.",
    ),
    Entry(
        word="batchnorm-mismatch",
        title="Batch norm mismatch",
        meaning="The running figures that evaluation will use are not those of the batches.",
        remedy="momentum=0.1, batches of 16 and more, shuffled; or GroupNorm / LayerNorm.",
    ),
    Entry(
        word="rank-divergence",
        title="Ranks differ",
        meaning="Ranks that train one network differ where they should be alike, or one stopped.",
        remedy="Look at what that rank alone is fed, holds or runs on, at the step named.",
    ),
)

CAUSES: tuple[Entry, ...] = (
    Entry(
        word="learning-rate-too-high",
        title="Learning rate too high",
        meaning="Single steps change the weights by a large part of themselves.",
        remedy="lr -> lr x 0.01 / (first update ratio); warm-up; clip the gradient norm at 1.0.",
        demo="lr-too-high",
    ),
    Entry(
        word="saturating-activation",
        title="Saturating activation",
        meaning="Large weights or biases hold sigmoid or tanh units on their flat ends.",
        remedy="Xavier initialisation and zero biases, normalisation before it, or ReLU.",
        demo="saturated-sigmoid",
    ),
    Entry(
        word="constant-initialisation",
        title="Constant initialisation",
        meaning="All units of a layer started with the same weights and stay the same for ever.",
        remedy="Draw the weights at random: Kaiming for ReLU, Xavier for tanh and sigmoid.",
        demo="constant-init",
    ),
    Entry(
        word="dying-relu",
        title="Dying ReLU",
        meaning="ReLU units sit below zero for every input, where no gradient revives them.",
        remedy="Zero biases, He initialisation, or LeakyReLU / ELU / GELU.",
        demo="dying-relu",
    ),
    Entry(
        word="unnormalised-inputs",
        title="Unnormalised inputs",
        meaning="Raw feature scales: an offset or the largest feature drowns all others.",
        remedy="x = (x - x.mean(0)) / (x.std(0) + 1e-8), or a normalisation layer first.",
        demo="unnormalised-inputs",
    ),
    Entry(
        word="bad-initialisation-scale",
        title="Badly scaled initial weights",
        meaning="The weights began far smaller or larger than their fan-in asks for.",
        remedy="Kaiming initialisation for ReLU, Xavier for tanh and sigmoid.",
    ),
    Entry(
        word="depth-vanishing",
        title="Signal lost with depth",
        meaning="Each layer passes on a small part of what it gets; the last ones get nothing.",
        remedy="He or Xavier initialisation, residual connections, normalisation, fewer layers.",
    ),
    Entry(
        word="learning-rate-too-low",
        title="Learning rate too low",
        meaning="No step changes the weights by more than a ten-thousandth of themselves.",
        remedy="lr -> lr x 0.01 / (largest update ratio).",
    ),
    Entry(
        word="over-regularisation",
        title="Too much regularisation",
        meaning="Weight decay or a penalty pulls the weights to zero faster than data pulls back.",
        remedy="Divide weight decay or the penalty by 10.",
    ),
    Entry(
        word="insufficient-capacity",
        title="Too little capacity",
        meaning="The network cannot express the task: no nonlinearity, or a layer too narrow.",
        remedy="Add a hidden layer with a nonlinearity, widen it; try to fit 32 samples first.",
    ),
    Entry(
        word="overfitting",
        title="Learning by heart",
        meaning="The network has room for every training sample, and keeps them as they are.",
        remedy="Stop at the lowest evaluation loss; more data, weight decay 1e-4, dropout 0.1-0.5.",
    ),
    Entry(
        word="local-minimum",
        title="Stuck on the way",
        meaning="Something is learnt, the gradient is nearly gone, and some inputs stay merged.",
        remedy="Another seed, more width, momentum or Adam, a higher rate for a while.",
    ),
    Entry(
        word="depth-exploding",
        title="Signal explodes with depth",
        meaning="Each layer makes what it gets larger; the last ones, and the gradient, are huge.",
        remedy="He initialisation, normalisation in each block, gradient clipping.",
    ),
    Entry(
        word="low-data-diversity",
        title="Too little variety of data",
        meaning="Batches of equal inputs, of one label each, or of few different rows.",
        remedy="Look at a batch as the model gets it: loader, masks, padding, augmentation.",
    ),
    Entry(
        word="loss-mismatch",
        title="Loss does not fit",
        meaning="The loss is given something else than it expects: a softmax twice, another shape.",
        remedy="Raw logits and class ids for cross_entropy, one logit for yes/no, equal shapes.",
    ),
    Entry(
        word="output-activation-mismatch",
        title="Output cannot reach targets",
        meaning="The last activation cannot give values that the targets have.",
        remedy="A linear last layer, or targets scaled into the range of its activation.",
    ),
    Entry(
        word="unscaled-targets",
        title="Unscaled targets",
        meaning="The targets lie far from zero or vary on a scale far from one.",
        remedy="Train on (y - y.mean()) / y.std() and scale predictions back.",
    ),
    Entry(
        word="detached-graph",
        title="Gradient does not arrive",
        meaning="Between loss and weights the way is cut, or the optimiser holds other weights.",
        remedy="zero_grad, backward, step; no detach before the loss; build the optimiser last.",
    ),
    Entry(
        word="missing-zero-grad",
        title="Gradients never cleared",
        meaning="Gradients of former steps stay and add up.",
        remedy="optimizer.zero_grad() before each backward.",
    ),
    Entry(
        word="class-imbalance",
        title="Class imbalance",
        meaning="One class is so frequent that predicting it always is nearly optimal.",
        remedy="Weight the classes, sample them evenly, and report the recall of each.",
    ),
    Entry(
        word="label-noise",
        title="Labels do not fit the inputs",
        meaning="Labels look random, paired with the wrong inputs, or ruled by a few outliers.",
        remedy="Check the pairing of x and y; train on 32 samples to zero loss.",
    ),
    Entry(
        word="bad-data",
        title="Data went bad in mid-run",
        meaning="Inputs or targets turned constant, repeated, non-finite or out of range.",
        remedy="Look at the batch of that step: loader, shard, augmentation, cache.",
    ),
    Entry(
        word="adversarial-mode-collapse",
        title="GAN mode collapse",
        meaning="The generator answers any noise with nearly the same sample.",
        remedy="Discriminator rate four times the generator's, betas (0.5, 0.999), WGAN-GP.",
    ),
    Entry(
        word="missing-stop-gradient",
        title="Missing stop-gradient",
        meaning="Two views are pulled together from both sides: a constant is the best answer.",
        remedy="Detach the target branch, or average a teacher; keep the predictor.",
    ),
    Entry(
        word="posterior-collapse",
        title="Posterior collapse",
        meaning="The latent equals its prior for every input: the decoder ignores it.",
        remedy="Sum the reconstruction loss as the KL is summed; anneal the KL; free bits.",
    ),
    Entry(
        word="router-collapse",
        title="Router collapse",
        meaning="A mixture of experts sends every input to the same expert.",
        remedy="A load-balancing loss, a small start of the router, noise on its logits.",
    ),
    Entry(
        word="attention-collapse",
        title="Attention collapse",
        meaning="Attention averages its tokens away, or fixes on one key and stops learning.",
        remedy="Residual connections, warm-up, a lower rate, QK-norm, LayerNorm first.",
    ),
    Entry(
        word="batchnorm-misuse",
        title="Batch norm misuse",
        meaning="Batches of one or two, running figures that never arrive, or no eval().",
        remedy="momentum=0.1, larger batches, or GroupNorm / LayerNorm.",
    ),
    Entry(
        word="numerical-overflow",
        title="Numerical overflow",
        meaning="A value overflowed or was undefined, and nothing else came before it.",
        remedy="Find the operation with torch.autograd.set_detect_anomaly(True).",
    ),
)

ENTRIES: dict[str, Entry] = {entry.word: entry for entry in (*SYMPTOMS, *CAUSES)}
"""Word -> entry."""
