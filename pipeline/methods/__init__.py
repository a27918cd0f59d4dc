"""Methods: networks and losses behind one contract.

The loop, the optimizers, the curves and the tables know no more.
"""
