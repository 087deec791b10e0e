"""Measurements: how fast webhooks are taken, how soon a customer hears, how fast a backlog drains.

    python -m bench                     everything, about a quarter of an hour (`make bench`)
    python -m bench --only ingest       one part: ingest, burst or drain
    python -m bench --quick --no-node   a small run that shows that all of it works

README.md says what the figures mean. Reading order: machine (what it ran on, who disturbed it), orders (what is sent),
load (who sends it), stage (databases, Redis, servers), then ingest, burst and drain, then report.
"""
