"""Every method on every problem: `python -m suite.run` in the folder above.

problems   data, truths and targets, by name
networks   published networks: reading and sampling
methods    what estimates a posterior, ours and peers, within a processor-time budget
score      figures of merit of one run, against the exact posterior or long chains
run        plans, processes, tidy results
report     docs/results.md with its pictures, from stored results
"""
