"""Measurements: how fast webhooks are taken, how soon a customer hears, how fast a backlog drains, how soon a
customer's page is there; and chaos.

    python -m bench                     everything, about 20 minutes (`make bench`)
    python -m bench --only ingest       one part: ingest, burst, drain or page
    python -m bench --quick --no-node   a small run that shows that all of it works
    python -m bench.chaos               2,000 orders while everything fails (`make chaos`)

README.md says what the figures mean, and in which order to read the modules.
"""
