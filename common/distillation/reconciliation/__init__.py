"""Reconciliation: making the two halves' sifted bits equal over a public, authenticated channel."""
