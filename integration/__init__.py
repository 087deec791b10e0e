"""The core: what Dastak remembers and what it decides. Knows no vendor, no Flask, no RQ.

    vendor -> webapp.webhooks -> ingest.receive        verify, store the raw request, commit, ring, 200
    worker -> ingest.process -> adapter.parse -> orders.apply -> journeys.react -> outbox.put    one transaction
    worker -> journeys.advance                         what has come due goes into the outbox
    worker -> outbox.deliver -> guards.may_send -> channel.send -> record

Read in this order; a module imports only from those above it (tests/test_house.py holds that):

    errors      the errors the core branches on
    clock       domain time (movable in the sandbox) and machine time (leases)
    settings    every setting, checked once at boot
    values      money, phones, addresses: normalised once, here
    events      the facts that adapters state
    ports       what an adapter is
    checkpoints labelled points between two commits, where chaos may end the process
    db          engine, tenant-scoped sessions, lanes
    vault       secrets at rest, key rotation
    stores      Store, Connection, policy, chores
    customers   Customer, ContactPoint, Consent
    orders      Order, LineItem, Payment, Shipment, ShipmentEvent, Transition: apply_* -> transitions
    inbox       Conversation, Message: what was said, and the service window
    catalogue   Template and the wording in six languages
    outbox_rows Outbox, Touchpoint, Enrollment, JourneySetting: what is meant to leave the house, and why
    guards      the one question: may this message go now?
    rendering   an order turned into the words of a template
    journeys    the engine and one file per journey: react, advance
    replies     what a customer's answer does
    outbox      put, claim, deliver, settle
    privacy     export, redact, retention
    ingest      WebhookDelivery: receive, process, replay, sweep
    upkeep      chores on a schedule: reconciliation, token refresh, webhook repair, template sync
    house       the one place where the parts meet
"""
