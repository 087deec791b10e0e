"""WhatsApp Cloud API: thin, over persisted raw JSON.

Libraries read only the first item of a batch and lose failures that come without contacts, so reading is done here,
over all entries, changes, messages and statuses. There is no idempotency key for a send; our reference travels as
`biz_opaque_callback_data` and comes back with every status. Where Meta's pages disagree the stricter reading is
coded.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from integration.errors import (
    ConfigurationError,
    InvalidSignature,
    NotUnderstood,
    OutcomeUnknown,
    PermanentError,
    TransientError,
)
from integration.events import (
    UNKNOWN,
    ChannelChanged,
    Fact,
    MessageEchoed,
    MessageReceived,
    MessageStatusChanged,
    Person,
    PersonChanged,
    PreferenceStated,
    TemplateChanged,
)
from integration.ports import (
    Accepted,
    Account,
    AdapterConfig,
    ChannelProfile,
    Choice,
    Failure,
    Field,
    Outgoing,
    TemplateSeen,
    TemplateText,
    WebhookRequest,
)
from integration.settings import Setting, some_words, url
from integration.values import clean

from .. import http, signing

LANGUAGE_CODES = {"en": "en", "ur-Latn": "en", "ur": "ur", "hi": "hi", "es": "es", "pt": "pt_BR"}
"""Ours to Meta's. There is no code for Roman Urdu; it is filed under `en` with names of its own (an assumption of
practice: reviewers may see a mismatch, which is why the Urdu-script twin is always submitted too)."""

STATUSES = {"sent": "sent", "delivered": "delivered", "read": "read", "played": "played", "failed": "failed"}

TEMPLATE_STATUSES = {
    "APPROVED": "approved", "PENDING": "pending", "REJECTED": "rejected", "PAUSED": "paused", "DISABLED": "disabled",
    "IN_APPEAL": "rejected", "REINSTATED": "approved", "FLAGGED": "approved", "ARCHIVED": "disabled",
    "LOCKED": "disabled", "LIMIT_EXCEEDED": "rejected", "DELETED": "missing", "PENDING_DELETION": "disabled",
}  # fmt: skip

CATEGORIES = {"UTILITY": "utility", "MARKETING": "marketing", "AUTHENTICATION": "authentication"}
QUALITIES = {"GREEN": "high", "YELLOW": "medium", "RED": "low", "UNKNOWN": UNKNOWN}

_BROKEN = "channel_broken"

FAILURES: dict[str, Failure] = {
    "0": Failure(_BROKEN, "WhatsApp no longer accepts our access. Connect the number again."),
    "190": Failure(_BROKEN, "WhatsApp no longer accepts our access. Connect the number again."),
    "3": Failure(_BROKEN, "The connection lacks a permission. Connect the number again and leave every box ticked."),
    "10": Failure(_BROKEN, "The connection lacks a permission. Connect the number again and leave every box ticked."),
    "131005": Failure(
        _BROKEN, "The connection lacks a permission. Connect the number again and leave every box ticked."
    ),
    "33": Failure(_BROKEN, "WhatsApp does not know this number any more. Connect a number again."),
    "368": Failure(_BROKEN, "WhatsApp has blocked this account for a policy violation. See Business Support in Meta."),
    "131031": Failure(_BROKEN, "WhatsApp has locked this account. See Business Support in Meta."),
    "131037": Failure(_BROKEN, "The number's display name must be approved by WhatsApp before it can send."),
    "131042": Failure(
        _BROKEN, "WhatsApp has a problem with the payment method of this account. Add or fix it in Meta."
    ),
    "131045": Failure(_BROKEN, "The number is not registered with WhatsApp. Connect it again."),
    "133010": Failure(_BROKEN, "The number is not registered with WhatsApp. Connect it again."),
    "131063": Failure("give_up", "Marketing is switched off for this account on the Cloud API."),
    "131064": Failure(_BROKEN, "WhatsApp limits this account because templates were filed under the wrong category."),
    "1": Failure("retry", "WhatsApp could not make sense of the call."),
    "2": Failure("retry", "WhatsApp is down for the moment."),
    "131016": Failure("retry", "WhatsApp is down for the moment."),
    "133004": Failure("retry", "WhatsApp is down for the moment."),
    "131000": Failure("retry", "Something went wrong on WhatsApp's side."),
    "135000": Failure("retry", "Something went wrong on WhatsApp's side."),
    "131057": Failure("retry", "WhatsApp is doing maintenance on the number.", 120),
    "2494100": Failure("retry", "WhatsApp is doing maintenance on the number.", 120),
    "4": Failure("slow_down", "Too many calls for the moment.", 30),
    "80007": Failure("slow_down", "Too many calls for the moment.", 30),
    "130429": Failure("slow_down", "The number's throughput is used up for the moment.", 2),
    "131056": Failure("slow_down", "This customer has had too many messages within a minute.", 8),
    "131048": Failure("retry_later", "WhatsApp limits this number because of spam reports.", 3600),
    "131049": Failure("give_up", "WhatsApp withheld it: this customer has had enough marketing from all businesses."),
    "130472": Failure("give_up", "WhatsApp withheld it: this customer is part of an experiment of theirs."),
    "130497": Failure("give_up", "This business may not write to customers in that country."),
    "131008": Failure("give_up", "WhatsApp misses a value in the message."),
    "131009": Failure("give_up", "WhatsApp refused a value in the message."),
    "100": Failure("give_up", "WhatsApp refused a value in the message."),
    "131021": Failure("give_up", "The shop's own number cannot write to itself."),
    "131026": Failure("unreachable", "The number cannot be reached on WhatsApp."),
    "131030": Failure("give_up", "A test number may only write to numbers on its list."),
    "131047": Failure("window_closed", "The customer's last message is over a day old."),
    "131050": Failure("stop_marketing", "The customer stopped marketing messages."),
    "131051": Failure("give_up", "WhatsApp does not support this kind of message."),
    "131053": Failure("give_up", "WhatsApp could not take the file."),
    "131062": Failure("give_up", "This message needs the customer's phone number."),
    "132000": Failure("template_gone", "The template at WhatsApp has other variables than ours."),
    "132001": Failure("template_gone", "WhatsApp has no approved template of that name and language."),
    "132005": Failure("give_up", "The text became too long."),
    "132007": Failure("template_gone", "The template violates a policy of WhatsApp."),
    "132008": Failure("template_gone", "WhatsApp refused a value in the template."),
    "132012": Failure("template_gone", "The template at WhatsApp has another shape than ours."),
    "132018": Failure("template_gone", "The template at WhatsApp has another shape than ours."),
    "132015": Failure("template_gone", "WhatsApp has paused the template for low quality."),
    "132016": Failure("template_gone", "WhatsApp has disabled the template for low quality."),
}
"""Error codes, from a reply or a status alike. The vendor's titles are being retired and its HTTP status is
unreliable, so only the code counts.
"""

MEDIA_HOST = re.compile(r"([a-z0-9-]+\.)*lookaside\.fbsbx\.com")
"""Where Meta keeps customers' files (seen in public clients). The token goes nowhere else, whatever an answer says."""

UNLISTED = Failure("give_up", "WhatsApp refused the message.")

_FILE_TIMEOUT = 20.0
"""Seconds that one file may take."""

_PARAMETER_SPACE = re.compile(r"\s+")
_FACT_FIELDS = frozenset({
    "messages", "message_template_status_update", "message_template_quality_update", "template_category_update",
    "account_update", "phone_number_quality_update", "user_preferences", "smb_message_echoes",
})  # fmt: skip


class WhatsApp:
    """See integration.ports.ChannelAdapter, AppWide, Challenges, SignsUpByCode and FetchesMedia."""

    name = "whatsapp"
    label = "WhatsApp"
    regions = ("worldwide",)
    website = "https://business.whatsapp.com"
    credentials = (
        Field("phone_number_id", "Phone number ID", "WhatsApp Manager > API setup", secret=False),
        Field("waba_id", "WhatsApp Business account ID", "WhatsApp Manager > API setup", secret=False),
        Field("access_token", "Permanent access token", "a system user's, with whatsapp_business_messaging and "
              "whatsapp_business_management"),
    )  # fmt: skip
    settings = (
        Setting("WHATSAPP_APP_ID", "id of the Meta app; empty leaves out the signup window", ""),
        Setting("WHATSAPP_APP_SECRET", "secret of the Meta app; both behind a comma while rotating", None, some_words,
                secret=True),
        Setting("WHATSAPP_VERIFY_TOKEN", "what Meta is told to say when it verifies our webhook", None, secret=True),
        Setting("WHATSAPP_GRAPH_URL", "the Graph API", "https://graph.facebook.com", url),
        Setting("WHATSAPP_GRAPH_VERSION", "its version", "v26.0"),
        Setting("WHATSAPP_SIGNUP_CONFIG", "configuration of embedded signup; empty leaves out the signup window", ""),
        Setting("WHATSAPP_SDK_URL", "the script that opens the signup window",
                "https://connect.facebook.net/en_US/sdk.js", url),
    )  # fmt: skip
    authenticates_by = "signature"
    handles = _FACT_FIELDS
    ignores = frozenset({
        "message_template_components_update", "business_capability_update", "account_alerts", "account_review_update",
        "phone_number_name_update", "security", "history", "smb_app_state_sync", "standby", "messaging_handovers",
        "calls", "flows",
    })  # fmt: skip
    keeps: tuple[str, ...] = ()
    pair_interval = 6.0

    def __init__(self, config: AdapterConfig) -> None:
        settings = config.settings
        self._app_id: str = settings["WHATSAPP_APP_ID"]
        self._secrets: tuple[str, ...] = settings["WHATSAPP_APP_SECRET"]
        self._verify_token: str = settings["WHATSAPP_VERIFY_TOKEN"]
        self._version: str = settings["WHATSAPP_GRAPH_VERSION"]
        self._graph = httpx.URL(settings["WHATSAPP_GRAPH_URL"])
        self._base = f"{settings['WHATSAPP_GRAPH_URL']}/{self._version}"
        self._signup_config: str = settings["WHATSAPP_SIGNUP_CONFIG"]
        self._sdk: str = settings["WHATSAPP_SDK_URL"]
        self._timeout = min(config.send_timeout, 10.0)  # what comes later than this comes by status webhook

    # -- webhooks --------------------------------------------------------------------------------------------------

    def challenge(self, query: Mapping[str, str]) -> str:
        given = query.get("hub.verify_token", "")
        right = hmac.compare_digest(given.encode("utf-8", "replace"), self._verify_token.encode())
        if query.get("hub.mode") != "subscribe" or not right:
            raise InvalidSignature("The verify token is not ours.")
        return query.get("hub.challenge", "")[:200]

    def verify(self, request: WebhookRequest, account: Account | None) -> None:
        """`sha256=` and the hex HMAC-SHA256 of the raw body with the app secret; a missing header fails closed."""
        signing.require(
            request.header("x-hub-signature-256"),
            ("sha256=" + signing.hmac_hex(secret, request.body) for secret in self._secrets),
        )

    def split(self, request: WebhookRequest) -> list[tuple[str, bytes]]:
        """A batch may hold several numbers' mail. Each account gets its own part; one account's whole body stays as
        it is.
        """
        parts: dict[str, list[dict[str, Any]]] = {}
        for entry, change in _changes(request.body):
            parts.setdefault(_account_of(entry, change), []).append({**entry, "changes": [change]})
        if not parts:
            raise NotUnderstood("the body names no account")
        if len(parts) == 1:
            return [(next(iter(parts)), request.body)]
        return [
            (account, orjson.dumps({"object": "whatsapp_business_account", "entry": entries}))
            for account, entries in parts.items()
        ]

    def delivery_key(self, request: WebhookRequest) -> str:
        return signing.body_hash(request.body)

    def parse(self, request: WebhookRequest) -> list[Fact]:
        facts: list[Fact] = []
        odd: list[str] = []
        for entry, change in _changes(request.body):
            name = str(change.get("field", ""))
            if name in self.ignores:
                continue
            if name not in self.handles:
                odd.append(f"the field {name[:60]!r} is not one we know")
                continue
            for value in _row_by_row(change.get("value")):
                try:
                    facts += _facts(name, entry, value)
                except (KeyError, TypeError, ValueError, AttributeError, IndexError) as fault:
                    odd.append(f"{name} lacks or garbles a field ({type(fault).__name__}: {str(fault)[:80]})")
        if odd:
            raise NotUnderstood(odd[0], facts=facts)
        return facts

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, account: Account, message: Outgoing) -> Accepted:
        response = self._call(account, "POST", f"{account.name}/messages", json=_envelope(message))
        answer = http.body_of(response)
        if response.status_code == 200 and isinstance(answer, dict) and answer.get("messages"):
            return _accepted(answer)
        raise _fault(response, answer, sent=True)

    def failure(self, code: str) -> Failure:
        if code.isdecimal() and 200 <= int(code) <= 299:
            return FAILURES["10"]
        return FAILURES.get(code, UNLISTED)

    def language_code(self, language: str) -> str:
        return LANGUAGE_CODES[language]

    def chat_url(self, number: str, text: str) -> str:
        """Click to chat (faq.whatsapp.com/5913398998672934): the whole international number, digits only."""
        digits = "".join(letter for letter in number if letter.isascii() and letter.isdigit())
        return f"https://wa.me/{digits}?text={quote(text)}" if 7 <= len(digits) <= 15 else ""

    # -- files -----------------------------------------------------------------------------------------------------

    def media(self, account: Account, media_id: str, most: int) -> bytes:
        """The id buys an address that lives five minutes, so one that is dead is asked for anew, once. Ids of what
        customers sent live for seven days (Meta's page on media).
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,160}", media_id):
            raise PermanentError("WhatsApp has no such file", reason="gone")
        for _ in range(2):
            about = self._about(account, media_id)
            if _count(about.get("file_size")) > most:
                raise PermanentError(f"the file is larger than {most:,} bytes", reason="too_large")
            status, content = http.download(
                self._may_hold_files(about.get("url")), most, headers=_bearer(account), timeout=_FILE_TIMEOUT
            )
            if status == 200:
                return _whole(content, about.get("sha256"))
            if status != 404:
                raise TransientError(f"WhatsApp does not hand the file out (HTTP {status})")
        raise PermanentError("WhatsApp no longer has the file", reason="gone")

    def _about(self, account: Account, media_id: str) -> dict[str, Any]:
        try:
            return self._read(account, media_id, {"phone_number_id": account.name})
        except PermanentError as fault:
            raise PermanentError("WhatsApp no longer has the file", reason="gone", code=fault.code) from None

    def _may_hold_files(self, address: Any) -> str:
        """The address, if our token may go there: Meta's own, or where the Graph API is. It is read by what calls it,
        so that both find the same host in it.
        """
        try:
            url = httpx.URL(address)
        except (httpx.InvalidURL, TypeError, ValueError):
            raise TransientError("WhatsApp's answer names no address for the file") from None
        beside = (url.scheme, url.host, url.port) == (self._graph.scheme, self._graph.host, self._graph.port)
        of_meta = url.scheme == "https" and url.port is None and MEDIA_HOST.fullmatch(url.host)
        if url.userinfo or not (beside or of_meta):
            raise PermanentError("the file's address is not one of WhatsApp's", reason="refused")
        return str(url)

    # -- the account -----------------------------------------------------------------------------------------------

    def profile(self, account: Account) -> ChannelProfile:
        fields = "display_phone_number,verified_name,quality_rating,throughput,health_status,platform_type"
        seen = self._read(account, account.name, {"fields": fields})
        rate = {"HIGH": 1000, "STANDARD": 80}.get(str((seen.get("throughput") or {}).get("level", "")).upper(), 80)
        blocked = _blocked(seen.get("health_status") or {})
        return ChannelProfile(
            number=clean(seen.get("display_phone_number"), 40),
            name=clean(seen.get("verified_name"), 100),
            rate=rate,
            quality=QUALITIES.get(str(seen.get("quality_rating")), UNKNOWN),
            healthy=not blocked,
            sentence=blocked,
            facts={"platform": clean(seen.get("platform_type"), 40)},
        )

    def subscribe(self, account: Account) -> None:
        """Have events sent to us. A number fresh from the signup window carries the pin it is to be registered with."""
        self._done(self._call(account, "POST", f"{account.credentials['waba_id']}/subscribed_apps", json={}))
        if pin := account.credentials.get("pin"):
            body = {"messaging_product": "whatsapp", "pin": pin}
            self._done(self._call(account, "POST", f"{account.name}/register", json=body))

    def create_template(self, account: Account, template: TemplateText) -> TemplateSeen:
        response = self._call(
            account, "POST", f"{account.credentials['waba_id']}/message_templates", json=_template(template)
        )
        answer = http.body_of(response)
        if response.status_code != 200 or not isinstance(answer, dict):
            raise _fault(response, answer, sent=False)
        return TemplateSeen(
            vendor_id=str(answer.get("id") or ""),
            name=template.name,
            language=LANGUAGE_CODES[template.language],
            status=TEMPLATE_STATUSES.get(str(answer.get("status")), UNKNOWN),
            category=CATEGORIES.get(str(answer.get("category")), UNKNOWN),
        )

    def fetch_templates(self, account: Account) -> Iterable[TemplateSeen]:
        query = {"fields": "name,language,status,category,quality_score,rejected_reason", "limit": "100"}
        while True:
            answer = self._read(account, f"{account.credentials['waba_id']}/message_templates", query)
            for row in answer.get("data") or ():
                yield TemplateSeen(
                    vendor_id=str(row.get("id") or ""),
                    name=str(row["name"]),
                    language=str(row["language"]),
                    status=TEMPLATE_STATUSES.get(str(row.get("status")), UNKNOWN),
                    category=CATEGORIES.get(str(row.get("category")), UNKNOWN),
                    quality=QUALITIES.get(str((row.get("quality_score") or {}).get("score")), UNKNOWN),
                    reason=clean(row.get("rejected_reason"), 200).replace("NONE", ""),
                )
            after = ((answer.get("paging") or {}).get("cursors") or {}).get("after")
            if not after or not (answer.get("paging") or {}).get("next"):
                return
            query["after"] = after

    def account_of(self, credentials: Mapping[str, str]) -> tuple[str, str]:
        """The number is the account; events of its business account name that instead."""
        return credentials["phone_number_id"], f"waba:{credentials['waba_id']}"

    def signup_window(self) -> Mapping[str, str]:
        if not (self._app_id and self._signup_config):
            return {}
        return {
            "script": self._sdk,
            "app": self._app_id,
            "config": self._signup_config,
            "version": self._version,
            "origins": "https://*.facebook.com",
        }

    def exchange_code(self, code: str, given: Mapping[str, str]) -> Mapping[str, str]:
        """Embedded signup hands the browser a code that lives 30 seconds; it buys a business token.

        Some ways through the signup window name only the account: then its one number is looked up. A number that is
        in use nowhere yet gets a pin, under which `subscribe` registers it; one that stays in the Business app
        (coexistence) must not be registered.
        """
        query = {"client_id": self._app_id, "client_secret": self._secrets[0], "code": code}
        response = http.read("GET", f"{self._base}/oauth/access_token", query=query, timeout=15)
        answer = http.body_of(response)
        if response.status_code != 200 or not isinstance(answer, dict) or not answer.get("access_token"):
            raise ConfigurationError(
                "WhatsApp did not accept the signup; its code lives only 30 seconds. Please try again."
            )
        credentials = {**given, "access_token": str(answer["access_token"])}
        if not credentials.get("phone_number_id"):
            waba = credentials.get("waba_id", "")
            found = self._read(Account(waba, credentials), f"{waba}/phone_numbers", {}).get("data") or []
            if len(found) != 1:
                raise ConfigurationError(
                    f"This WhatsApp account has {len(found)} numbers. Choose one in the signup window."
                )
            credentials["phone_number_id"] = str(found[0]["id"])
        number = credentials["phone_number_id"]
        seen = self._read(Account(number, credentials), number, {"fields": "platform_type,is_on_biz_app"})
        if not seen.get("is_on_biz_app") and seen.get("platform_type") != "CLOUD_API":
            credentials["pin"] = f"{secrets.randbelow(10**6):06}"
        return credentials

    # -- calling ---------------------------------------------------------------------------------------------------

    def _call(self, account: Account, method: str, path: str, **kwargs: Any) -> httpx.Response:
        return http.call(method, f"{self._base}/{path}", headers=_bearer(account), timeout=self._timeout, **kwargs)

    def _read(self, account: Account, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        try:
            response = self._call(account, "GET", path, query=query)
        except OutcomeUnknown as fault:
            raise TransientError(str(fault)) from None
        return self._done(response)

    def _done(self, response: httpx.Response) -> dict[str, Any]:
        answer = http.body_of(response)
        if response.status_code == 200 and isinstance(answer, dict):
            return answer
        fault = _fault(response, answer, sent=False)
        raise fault if not isinstance(fault, OutcomeUnknown) else TransientError(str(fault))


def _bearer(account: Account) -> dict[str, str]:
    return {"Authorization": f"Bearer {account.credentials.get('access_token', '')}"}


def _count(raw: Any) -> int:
    """Bytes, as far as they are told; none is no promise, the download is counted too."""
    digits = str(raw)
    return int(digits) if digits.isdecimal() and len(digits) <= 15 else 0


def _whole(content: bytes, told: Any) -> bytes:
    """The file, if it is the one that was told of: by its SHA-256, which comes as hex or as base64."""
    digest = hashlib.sha256(content).digest()
    if told and digest.hex() != str(told).lower() and base64.b64encode(digest).decode() != told:
        raise TransientError("the file did not arrive whole")
    return content


# -- writing -------------------------------------------------------------------------------------------------------


def _envelope(message: Outgoing) -> dict[str, Any]:
    """`to` always with its +, or Meta may put the business's own country code in front; `recipient` for a user id."""
    body: dict[str, Any] = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "biz_opaque_callback_data": message.reference,
    }
    if message.phone:
        body["to"] = message.phone
    else:
        body["recipient"] = message.user_id
    if message.reply_to:
        body["context"] = {"message_id": message.reply_to}
    return body | _CONTENT[message.kind](message)


def _template_content(message: Outgoing) -> dict[str, Any]:
    components: list[dict[str, Any]] = []
    if message.parameters:
        components.append(
            {
                "type": "body",
                "parameters": [
                    {"type": "text", "parameter_name": name, "text": _parameter(text)}
                    for name, text in message.parameters
                ],
            }
        )
    components += [
        {
            "type": "button",
            "sub_type": "quick_reply",
            "index": str(index),
            "parameters": [{"type": "payload", "payload": choice.id}],
        }
        for index, choice in enumerate(message.buttons)
    ]
    template = {"name": message.template, "language": {"code": message.language}, "components": components}
    return {"type": "template", "template": template}


def _text_content(message: Outgoing) -> dict[str, Any]:
    return {"type": "text", "text": {"body": message.text[:4096], "preview_url": False}}


def _buttons_content(message: Outgoing) -> dict[str, Any]:
    buttons = [{"type": "reply", "reply": {"id": c.id, "title": c.title[:20]}} for c in message.buttons[:3]]
    return _interactive(message, "button", {"buttons": buttons})


def _list_content(message: Outgoing) -> dict[str, Any]:
    rows = [_row(choice) for choice in message.buttons[:10]]
    return _interactive(message, "list", {"button": message.list_label[:20], "sections": [{"rows": rows}]})


def _row(choice: Choice) -> dict[str, str]:
    row = {"id": choice.id, "title": choice.title[:24]}
    return row | {"description": choice.description[:72]} if choice.description else row


def _interactive(message: Outgoing, kind: str, action: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"type": kind, "body": {"text": message.text[:1024]}, "action": action}
    if message.footer:
        content["footer"] = {"text": message.footer[:60]}
    return {"type": "interactive", "interactive": content}


_CONTENT = {
    "template": _template_content, "text": _text_content, "buttons": _buttons_content, "list": _list_content,
}  # fmt: skip


def _parameter(text: str) -> str:
    """Meta refuses line breaks, tabs and runs of spaces in a variable, and an empty one."""
    return _PARAMETER_SPACE.sub(" ", text).strip()[:1024] or "-"


def _template(template: TemplateText) -> dict[str, Any]:
    body: dict[str, Any] = {"type": "BODY", "text": template.body}
    if template.examples:
        body["example"] = {
            "body_text_named_params": [{"param_name": n, "example": e} for n, e in template.examples.items()]
        }
    components = [body]
    if template.footer:
        components.append({"type": "FOOTER", "text": template.footer})
    if template.buttons:
        buttons = [{"type": "QUICK_REPLY", "text": title[:25]} for title in template.buttons]
        components.append({"type": "BUTTONS", "buttons": buttons})
    return {
        "name": template.name,
        "language": LANGUAGE_CODES[template.language],
        "category": template.category.upper(),
        "parameter_format": "NAMED",
        "components": components,
    }


def _accepted(answer: dict[str, Any]) -> Accepted:
    message = answer["messages"][0]
    contact = (answer.get("contacts") or [{}])[0]
    return Accepted(
        vendor_id=str(message.get("id") or ""),
        channel_id=str(contact.get("wa_id") or ""),
        user_id=str(contact.get("user_id") or ""),
        held=message.get("message_status") == "held_for_quality_assessment",
    )


def _fault(response: httpx.Response, answer: Any, *, sent: bool) -> Exception:
    """An answer that is no success, in the core's words. Without Graph's own error in it, nobody knows what
    happened.
    """
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        if response.status_code == 429 or response.status_code >= 500:
            return TransientError(
                f"WhatsApp asks us to wait (HTTP {response.status_code})", retry_after=http.retry_after(response)
            )
        return OutcomeUnknown(f"WhatsApp's answer could not be read (HTTP {response.status_code})")
    code = str(error.get("code", ""))
    failure = FAILURES["10"] if code.isdecimal() and 200 <= int(code) <= 299 else FAILURES.get(code, UNLISTED)
    if failure.action == _BROKEN:
        return ConfigurationError(failure.sentence)
    if failure.action in ("retry", "slow_down"):
        return TransientError(
            failure.sentence, retry_after=failure.retry_after or http.retry_after(response), code=code
        )
    details = clean(
        (error.get("error_data") or {}).get("details") or error.get("error_user_msg") or error.get("message"), 200
    )
    sentence = failure.sentence if sent and failure is not UNLISTED else details or failure.sentence
    return PermanentError(sentence, reason=failure.action, code=code)


def _blocked(health: Mapping[str, Any]) -> str:
    if health.get("can_send_message") != "BLOCKED":
        return ""
    for entity in health.get("entities") or ():
        for error in entity.get("errors") or ():
            return clean(f"{error.get('error_description') or ''} {error.get('possible_solution') or ''}", 400)
    return "WhatsApp does not let this number send. See WhatsApp Manager for the reason."


# -- reading -------------------------------------------------------------------------------------------------------


def _changes(body: bytes) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every change of every entry, with its entry. Raises NotUnderstood."""
    try:
        envelope = orjson.loads(body)
        found = [(entry, change) for entry in envelope["entry"] for change in entry["changes"]]
        if not all(isinstance(change, dict) for _, change in found):
            raise TypeError("a change is no object")
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise NotUnderstood("the body is no webhook of the Cloud API") from None
    return found


def _account_of(entry: Mapping[str, Any], change: Mapping[str, Any]) -> str:
    """The number a change is about, else `waba:` and the account: some events know only that."""
    value = change.get("value")
    value = value if isinstance(value, dict) else {}
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and metadata.get("phone_number_id"):
        return str(metadata["phone_number_id"])[:255]
    info = value.get("waba_info")
    waba = info.get("waba_id") if isinstance(info, dict) else entry.get("id")
    return f"waba:{waba}"[:255]


_ROWS = ("messages", "statuses", "user_preferences", "message_echoes")


def _row_by_row(value: Any) -> list[Any]:
    """A value once for each row it holds, so that a row nobody can read costs no other."""
    if not isinstance(value, dict):
        return [value]
    rows = [(name, row) for name in _ROWS if isinstance(value.get(name), list) for row in value[name]]
    beside = {name: held for name, held in value.items() if name not in _ROWS}
    return [beside | {name: [row]} for name, row in rows] or [value]


def _facts(name: str, entry: Mapping[str, Any], value: dict[str, Any]) -> list[Fact]:
    if name == "messages":
        return _message_facts(value)
    at = _time(entry.get("time")) or datetime(1970, 1, 1, tzinfo=UTC)
    if name == "user_preferences":
        return [_preference(value, row) for row in value["user_preferences"]]
    if name == "smb_message_echoes":
        return [_echo(row) for row in value["message_echoes"]]
    if name in ("message_template_status_update", "message_template_quality_update", "template_category_update"):
        return [_template_fact(value, at)]
    if name == "account_update":
        return [_account_fact(value, at)]
    level = str(value.get("max_daily_conversations_per_business") or "")
    return [
        ChannelChanged(
            healthy=None, sentence=clean(value.get("event"), 60), details={"limit": level[:40]}, occurred_at=at
        )
    ]


def _message_facts(value: dict[str, Any]) -> list[Fact]:
    people = [_person(contact) for contact in value.get("contacts") or ()]
    facts: list[Fact] = [_received(row, people) for row in value.get("messages") or ()]
    facts += [_status(row, people) for row in value.get("statuses") or ()]
    if not facts:
        for error in value.get("errors") or ():
            code = str(error.get("code", ""))
            failure = FAILURES.get(code, UNLISTED)
            broken = failure.action == _BROKEN
            facts.append(
                ChannelChanged(
                    healthy=False if broken else None,
                    sentence=failure.sentence if broken else clean(error.get("title"), 200),
                    occurred_at=datetime(1970, 1, 1, tzinfo=UTC),
                )
            )
    return facts


def _person(contact: Mapping[str, Any]) -> Person:
    return _who(contact.get("wa_id"), contact.get("user_id"), clean((contact.get("profile") or {}).get("name"), 200))


def _who(wa_id: Any, user_id: Any, name: str = "") -> Person:
    """A username-only customer has no wa_id at all. Ids are opaque: a user id is never split or stripped to digits."""
    digits = str(wa_id or "")
    phone = f"+{digits}" if digits.isdecimal() and 6 <= len(digits) <= 15 else None
    return Person(
        phone=phone, user_id=str(user_id)[:160] if user_id else None, channel_id=digits[:40] or None, name=name
    )


def _received(row: dict[str, Any], people: list[Person]) -> Fact:
    person = _named(_who(row.get("from"), row.get("from_user_id")), people)
    at, kind = _need_time(row["timestamp"]), str(row["type"])
    if kind == "system":
        return _system(row, person, at)
    said = {"text": "", "payload": "", "kind": "unsupported", "media": None} | _SAID.get(kind, _unsupported)(row)
    return MessageReceived(
        person=person,
        vendor_id=str(row["id"]),
        kind=said["kind"],
        text=clean(said["text"], 4000),
        payload=str(said["payload"] or "")[:256],
        context=str((row.get("context") or {}).get("id") or ""),
        media=said["media"],
        referral=_referral(row.get("referral")),
        occurred_at=at,
    )


def _named(person: Person, people: list[Person]) -> Person:
    """The contacts beside a message hold the name, and perhaps the id that the message left out."""
    for known in people:
        same_line = known.channel_id is not None and known.channel_id == person.channel_id
        if same_line or (known.user_id is not None and known.user_id == person.user_id):
            return Person(
                phone=person.phone or known.phone,
                user_id=person.user_id or known.user_id,
                channel_id=person.channel_id or known.channel_id,
                name=known.name,
            )
    return person


def _text(row: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "text", "text": row["text"]["body"]}


def _button(row: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "button", "text": row["button"].get("text"), "payload": row["button"].get("payload")}


def _interaction(row: dict[str, Any]) -> dict[str, Any]:
    inner = row["interactive"]
    kind = inner["type"]
    if kind in ("button_reply", "list_reply"):
        said = inner[kind]
        return {
            "kind": "button" if kind == "button_reply" else "list",
            "text": said.get("title"),
            "payload": said["id"],
        }
    return {"kind": "form", "text": clean((inner.get(kind) or {}).get("body"), 500)}


def _media(row: dict[str, Any]) -> dict[str, Any]:
    raw = row[row["type"]]
    kept = {name: raw[name] for name in ("id", "mime_type", "sha256", "filename", "voice") if name in raw}
    return {"kind": "media", "text": raw.get("caption"), "media": {"type": row["type"], **kept}}


def _reaction(row: dict[str, Any]) -> dict[str, Any]:
    raw = row["reaction"]
    return {"kind": "reaction", "text": raw.get("emoji") or "", "media": {"of": raw.get("message_id")}}


def _location(row: dict[str, Any]) -> dict[str, Any]:
    raw = row["location"]
    named = ", ".join(filter(None, (clean(raw.get("name"), 100), clean(raw.get("address"), 200))))
    return {"kind": "location", "text": named, "media": {"latitude": raw["latitude"], "longitude": raw["longitude"]}}


def _unsupported(row: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "unsupported", "media": {"type": clean(row.get("type"), 40)}}


_SAID = {
    "text": _text, "button": _button, "interactive": _interaction, "image": _media, "video": _media, "audio": _media,
    "document": _media, "sticker": _media, "reaction": _reaction, "location": _location,
}  # fmt: skip
"""How each type of message is read. Any other type is kept as `unsupported` for a person to see."""


def _system(row: dict[str, Any], person: Person, at: datetime) -> Fact:
    raw = row["system"]
    new = _who(raw.get("wa_id"), raw.get("user_id"))
    old = Person(
        phone=person.phone,
        user_id=person.user_id or str(raw.get("previous_user_id") or "") or None,
        channel_id=person.channel_id,
    )
    if raw["type"] not in ("user_changed_number", "user_changed_user_id"):
        return MessageReceived(
            person=person,
            vendor_id=str(row["id"]),
            kind="unsupported",
            text=clean(raw.get("body"), 500),
            occurred_at=at,
        )
    return PersonChanged(old=old, new=new, occurred_at=at)


def _referral(raw: Any) -> dict[str, Any] | None:
    if not isinstance(raw, dict):
        return None
    return {
        name: clean(raw[name], 300)
        for name in ("source_type", "source_id", "source_url", "headline", "ctwa_clid")
        if name in raw
    }


def _status(row: dict[str, Any], people: list[Person]) -> Fact:
    status = STATUSES.get(str(row["status"]))
    if status is None:
        raise ValueError(f"the status {str(row['status'])[:40]!r} is not one we know")
    error = (row.get("errors") or [{}])[0]
    person = _who(row.get("recipient_id"), row.get("recipient_user_id"), people[0].name if people else "")
    return MessageStatusChanged(
        vendor_id=str(row["id"]),
        reference=str(row.get("biz_opaque_callback_data") or "")[:512],
        status=status,
        error_code=str(error.get("code") or ""),
        error_text=clean((error.get("error_data") or {}).get("details") or error.get("title"), 300),
        person=person if person.phone or person.user_id else None,
        occurred_at=_need_time(row["timestamp"]),
    )


def _preference(value: dict[str, Any], row: dict[str, Any]) -> Fact:
    return PreferenceStated(
        person=_who(row.get("wa_id"), row.get("user_id")),
        purpose="marketing",
        granted=row["value"] != "stop",
        occurred_at=_need_time(row["timestamp"]),
    )


def _echo(row: dict[str, Any]) -> Fact:
    return MessageEchoed(
        person=_who(row.get("to"), row.get("to_user_id")),
        vendor_id=str(row["id"]),
        text=clean((row.get("text") or {}).get("body"), 4000),
        kind="text" if row.get("type") == "text" else "media",
        occurred_at=_need_time(row["timestamp"]),
    )


def _template_fact(value: dict[str, Any], at: datetime) -> Fact:
    """Told apart by what they hold: a quality change has been seen under the status field."""
    status = category = quality = None
    if "new_quality_score" in value:
        quality = QUALITIES.get(str(value["new_quality_score"]), UNKNOWN)
    elif "previous_category" in value:
        category = CATEGORIES.get(str(value["new_category"]), UNKNOWN)
    elif "event" in value:
        status = TEMPLATE_STATUSES.get(str(value["event"]), UNKNOWN)
        category = CATEGORIES.get(str(value.get("message_template_category")))
    return TemplateChanged(
        vendor_id=str(value.get("message_template_id") or ""),
        name=str(value["message_template_name"]),
        language=str(value["message_template_language"]),
        status=status,
        category=category,
        quality=quality,
        reason=clean(value.get("reason"), 200).replace("NONE", ""),
        occurred_at=at,
    )


_ACCOUNT_EVENTS = {
    "ACCOUNT_DELETED": "WhatsApp has deleted this account.",
    "ACCOUNT_RESTRICTION": "WhatsApp has restricted this account. See Business Support in Meta.",
    "DISABLED_UPDATE": "WhatsApp has disabled this account. See Business Support in Meta.",
    "PARTNER_REMOVED": "The number was disconnected from Dastak in WhatsApp. Connect it again.",
    "PARTNER_APP_UNINSTALLED": "Dastak was removed from this account in Meta. Connect it again.",
    "ACCOUNT_OFFBOARDED": "The number has left the API. Connect it again.",
}


def _account_fact(value: dict[str, Any], at: datetime) -> Fact:
    event = str(value.get("event", ""))
    sentence = _ACCOUNT_EVENTS.get(event, "")
    healthy = False if sentence else True if event == "ACCOUNT_RECONNECTED" else None
    return ChannelChanged(healthy=healthy, sentence=sentence or clean(event, 60), occurred_at=at)


def _time(raw: Any) -> datetime | None:
    digits = str(raw or "")
    return datetime.fromtimestamp(int(digits), UTC) if digits.isdecimal() and len(digits) <= 10 else None


def _need_time(raw: Any) -> datetime:
    value = _time(raw)
    if value is None:
        raise ValueError("a time is missing")
    return value


ADAPTER = WhatsApp
