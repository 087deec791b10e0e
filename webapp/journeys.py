"""/app/journeys: switch the journeys, see every message in every language, decide what the store decides, dress the
page on which customers follow a parcel.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from typing import Any

from flask import Blueprint, abort, redirect, request
from sqlalchemy import select
from werkzeug.wrappers import Response as AnyResponse

from integration.branding import MOST_BYTES, OURS, colour, palette
from integration.db import Session
from integration.journeys import JOURNEYS, JourneySetting, Settled
from integration.orders import Shipment
from integration.rendering import preview
from integration.stores import Logo, Policy, Store, change_logo
from integration.values import LANGUAGES, RIGHT_TO_LEFT

from .auth import house, link, merchant, page, signed_in
from .channels import LANGUAGE_NAMES

pages = Blueprint("journeys", __name__, url_prefix="/app/journeys")


@pages.get("")
@signed_in
def show() -> Any:
    return _show()


@pages.post("/<name>")
@signed_in
def switch(name: str) -> AnyResponse:
    """Turn one journey on or off. Orders already in it finish it; the switch counts for new ones."""
    if name not in JOURNEYS:
        abort(404, "There is no journey of that name.")
    with house().db.lane(merchant().store_id) as session:
        setting = session.scalars(select(JourneySetting).where(JourneySetting.journey == name)).first()
        if setting is None:
            setting = JourneySetting(store_id=merchant().store_id, journey=name)
            session.add(setting)
        setting.enabled = request.form.get("enabled") == "1"
    return redirect(link("journeys.show", language=_language()) + f"#{name}", 303)


@pages.post("/policy")
@signed_in
def decide() -> Any:
    """What the merchant decides for the whole store."""
    form = request.form
    with house().db.lane(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        try:
            policy = _policy(store.policy, form)
        except ValueError as fault:
            session.rollback()
            return _show(422, fault=str(fault))
        store.decide(policy)
    return redirect(link("journeys.show", done="saved") + "#policy", 303)


@pages.post("/page")
@signed_in
def dress() -> Any:
    """The shop's colour and logo on the page where its customers follow a parcel."""
    uploaded = request.files.get("logo")
    content = uploaded.read() if uploaded is not None else b""
    with house().db.lane(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        try:
            store.decide(replace(store.policy, brand_colour=colour(request.form.get("brand_colour", ""))))
            if content or request.form.get("no_logo") == "1":
                change_logo(session, content)
        except ValueError as fault:
            session.rollback()
            return _show(422, fault=str(fault), at="page")
    return redirect(link("journeys.show", done="dressed") + "#page", 303)


def _policy(policy: Policy, form: Any) -> Policy:
    """The form as a Policy. Raises ValueError with a sentence for the merchant."""
    language = form.get("language", policy.language)
    if language not in LANGUAGES:
        raise ValueError("Choose one of the six languages.")
    first, last = form.get("delivery_from", "").strip(), form.get("delivery_to", "").strip()
    days = None
    if first or last:
        days = (_whole(first or last, 0, 60, "Delivery days"), _whole(last or first, 0, 60, "Delivery days"))
        if days[0] > days[1]:
            raise ValueError("Delivery takes from the smaller number of days to the larger one.")
    names = tuple(filter(None, (name.strip()[:80] for name in form.get("cod_gateways", "")[:1000].split(","))))
    return replace(
        policy,
        language=language,
        quiet_from=_whole(form.get("quiet_from", ""), 0, 23, "Quiet hours"),
        quiet_until=_whole(form.get("quiet_until", ""), 0, 23, "Quiet hours"),
        confirmation_hours=_whole(form.get("confirmation_hours", ""), 1, 168, "The time to answer"),
        cancel_in_store=form.get("cancel_in_store") == "1",
        delivery_days=days,
        cod_gateways=names,
        completed_means="delivered" if form.get("completed_means") == "delivered" else "in_transit",
    )


def _whole(raw: str, least: int, most: int, what: str) -> int:
    if not raw.strip().isdecimal() or not least <= int(raw) <= most:
        raise ValueError(f"{what}: give a whole number from {least} to {most}.")
    return int(raw)


def _language() -> str:
    wanted = request.args.get("language") or request.form.get("language") or ""
    return wanted if wanted in LANGUAGES else ""


def _show(status: int = 200, fault: str = "", at: str = "policy") -> Any:
    with house().db.read(merchant().store_id) as session:
        store = session.get_one(Store, merchant().store_id)
        settled = Settled(session, store)
        language = _language() or store.policy.language
        shown = [
            (
                journey,
                settled.enabled(journey),
                [
                    (step, _when(step.after), preview(step.template, language, store) if step.template else None)
                    for step in settled.steps(journey)
                ],
            )
            for journey in JOURNEYS.values()
        ]
        return page(
            "journeys.html",
            status,
            store=store,
            policy=store.policy,
            journeys=shown,
            language=language,
            languages=LANGUAGE_NAMES,
            rtl=RIGHT_TO_LEFT,
            fault=fault,
            at=at,
            done=request.args.get("done", ""),
            colours=palette(store.policy.brand_colour),
            ours=OURS,
            logo=_logo(session),
            logo_kb=MOST_BYTES // 1024,
            newest=session.scalar(select(Shipment.token).order_by(Shipment.id.desc()).limit(1)),
        )


def _logo(session: Session) -> str:
    """The logo in the page itself: inside a platform's frame a picture could not say whose it is."""
    kept = session.scalars(select(Logo)).first()
    return f"data:{kept.kind};base64,{base64.b64encode(kept.content).decode()}" if kept is not None else ""


def _when(after: timedelta) -> str:
    hours = after.total_seconds() / 3600
    return "at once" if hours == 0 else f"after {hours:g} hours"
