"""The core: what Dastak remembers and what it decides. Knows no vendor, no Flask, no RQ.

    vendor -> webapp.webhooks -> ingest.receive        verify, store the raw request, commit, ring, 200
    worker -> ingest.process -> adapter.parse -> orders.apply -> journeys.react -> outbox.put    one transaction
    worker -> journeys.advance                         what has come due goes into the outbox
    worker -> outbox.deliver -> guards.may_send -> channel.send -> record

Read in this order; a module imports only from those above it (tests/test_house.py holds that):

    errors      the errors the core branches on
    logs        one JSON object a line, nobody's data in it
    clock       domain time (movable in the sandbox) and machine time (leases)
    settings    every setting, checked once at boot
    values      money, phones, addresses: normalised once, here
    events      the facts that adapters state
    ports       what an adapter is
    checkpoints labelled points between two commits, where chaos may end the process
    db          engine, tenant-scoped sessions, lanes
    migrations  the schema's history
    vault       secrets at rest, key rotation
    house       the parts of one process, put together once
    branding    a shop's colour, kept readable, and its logo, looked at
    stores      Store, Connection, Policy, Chore, Logo; install and uninstall
    attempts    installations under way
    access      opening a merchant's account with credentials that work now
    customers   Customer, ContactPoint, Consent
    parcels     what a courier's scans say of where a parcel is
    money       what all that was said of an order's money comes to
    transactions how people pay by hand, and the ids of their transactions in what they write
    statements  an exported statement read, and claims matched with its lines
    orders      Order, LineItem, Payment, Shipment, ShipmentEvent, Transition: apply_* -> transitions
    intents     PaymentIntent: what a customer was asked to pay, by which means, until when
    inbox       Conversation, Message: what was said, and the service window
    catalogue   Template, and the wording in six languages
    guards      the one question: may this message go now?
    rendering   an order turned into the words of a message
    following   what whoever follows a parcel sees, and nothing of the person it goes to
    outbox      Touchpoint, Outbox: put, deliver, write, settle
    journeys    the engine and one file per journey: react, advance
    payments    what gateways say of money, and what follows from it
    answers     one answer to one message of a customer
    advice      what a customer says of a parcel: again, elsewhere, back, something is wrong
    claims      what customers say they have paid by hand, and what the merchant's statement says of it
    replies     what a customer's answer does
    dispatch    what may be sent and with whom: the queue, served cities, the merchant's rules
    couriers    telling couriers: book, cancel, advise
    watch       parcels that a merchant should look at, customers who were not told
    privacy     export, erase
    groupcommit one commit shared by concurrent requests
    unknown     UnknownWord: what vendors said that no table knows, counted
    ingest      WebhookDelivery: receive, process, replay, sweep
    story       an order's whole story, for pages and `flask why`
    tracking    asking couriers where parcels are, each in its time
    collecting  opening checkouts, asking gateways what became of them, closing them
    upkeep      chores on a schedule: reconciliation, webhook repair, template sync
"""
