"""Couriers: one file each."""
