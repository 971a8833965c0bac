"""A synthetic retailer: weekly files that look and behave like the public data, without a row of them.

Its label rule mirrors the one recovered from the real data: every product has a hidden class, and a basket's label is
the mean class of its products, cut twice. Only the 22 public columns are written; the classes never are.
"""
