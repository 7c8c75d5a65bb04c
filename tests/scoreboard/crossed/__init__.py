"""Exams drawn by lot: everyday networks, data, optimisers and habits, crossed with one fault each.

A draw (a seed and a number) is one run and its twin without the fault. `cross` draws how the twin
trains, `data` and `nets` make what it is made of, `bench` puts the parts together; `faults` lists
what may be done to them, in `faults_*` by family, and `draw` chooses. The cause is drawn first and
a cross that can show it after, so that every cause comes about equally often.
"""
