"""The Graph API's errors as data: code -> title, HTTP status, what Meta says about it when nothing better is known.

The same code can come as the answer of a call or later in a `failed` status; both shapes are made here.
"""

from __future__ import annotations

import secrets
from typing import Any

# code: (title, HTTP status, usual details)
ERRORS: dict[int, tuple[str, int, str]] = {
    1: ("An unknown error occurred", 400, "Invalid request or possible server error."),
    2: ("Service temporarily unavailable", 503, "Temporary due to downtime or due to being overloaded."),
    4: ("Application request limit reached", 400, "The app has reached its API call rate limit."),
    10: (
        "Application does not have permission for this action",
        403,
        "Permission is either not granted or removed.",
    ),
    33: ("Parameter value is not valid", 400, "The business phone number has been deleted."),
    100: ("Invalid parameter", 400, "The request included one or more unsupported or misspelled parameters."),
    190: ("Invalid OAuth access token - Cannot parse access token", 401, ""),
    368: (
        "Temporarily blocked for policies violations",
        403,
        "The account has been restricted for a policy violation.",
    ),
    80007: ("Rate limit issues", 400, "The WhatsApp Business Account has reached its rate limit."),
    130429: (
        "Rate limit hit",
        400,
        "Message failed to send because there were too many messages sent from this phone number "
        "in a short period of time",
    ),
    130472: (
        "User's number is part of an experiment",
        400,
        "The message was not sent as part of an experiment.",
    ),
    130497: ("Business account is restricted from messaging users in this country.", 403, ""),
    131000: ("Something went wrong", 500, "Message failed to send due to an unknown error."),
    131005: ("Access denied", 403, "Permission is either not granted or has been removed."),
    131008: ("Required parameter is missing", 400, "The request is missing a required parameter."),
    131009: ("Parameter value is not valid", 400, "One or more parameter values are invalid."),
    131016: ("Service unavailable", 500, "A service is temporarily unavailable."),
    131021: ("Recipient cannot be sender", 400, "Sender and recipient phone number is the same."),
    131026: ("Message undeliverable", 400, "Message Undeliverable."),
    131030: (
        "Recipient phone number not in allowed list",
        400,
        "Add the recipient to the list and try again.",
    ),
    131031: (
        "Account has been locked",
        403,
        "The account has been restricted or disabled, or the PIN is wrong.",
    ),
    131037: ("WhatsApp provided number needs display name approval before message can be sent.", 400, ""),
    131042: ("Business eligibility payment issue", 400, "There was an error related to your payment method."),
    131045: (
        "Incorrect certificate",
        500,
        "Message failed to send due to a phone number registration error.",
    ),
    131047: (
        "Re-engagement message",
        400,
        "Message failed to send because more than 24 hours have passed since the customer last replied to this number.",
    ),
    131048: ("Spam rate limit hit", 400, "Too many messages from this phone number were blocked or flagged."),
    131049: (
        "This message was not delivered to maintain healthy ecosystem engagement.",
        400,
        "In order to maintain a healthy ecosystem engagement, the message failed to be delivered.",
    ),
    131050: (
        "Unable to deliver the message. This recipient has chosen to stop receiving marketing messages.",
        400,
        "",
    ),
    131051: ("Unsupported message type", 400, "Message type is not currently supported"),
    131052: ("Media download error", 400, "Unable to download the media sent by the user."),
    131053: ("Media upload error", 400, "Unable to upload the media used in the message."),
    131056: (
        "(Business Account, Consumer Account) pair rate limit hit",
        400,
        "Message failed to send because there were too many messages sent from this phone number "
        "to the same phone number in a short period of time",
    ),
    131057: ("Account in maintenance mode", 500, "Business Account is in maintenance mode."),
    131059: ("Invalid cursor", 400, "The cursor is invalid or has expired. Start the paging again."),
    131062: ("Business-scoped User ID recipients are not supported for this message.", 400, ""),
    131064: (
        "Limit due to template misclassification",
        400,
        "Utility templates of this account are limited.",
    ),
    132000: ("Number of parameters does not match the expected number of params", 400, ""),
    132001: ("Template name does not exist in the translation", 404, ""),
    132005: ("Translated text too long", 400, "Translated text is too long."),
    132007: ("Template content policy violated", 400, "Template content violates a WhatsApp policy."),
    132012: ("Parameter format does not match format in the created template", 400, ""),
    132015: ("Template is paused", 400, "Template is paused due to low quality."),
    132016: (
        "Template is disabled",
        400,
        "Template was paused too many times and is now permanently disabled.",
    ),
    132018: ("There's an issue with the parameters in your template", 400, ""),
    132068: ("Flow is blocked", 400, "Flow is in blocked state."),
    133005: ("Two step verification PIN mismatch", 400, "Two-step verification PIN incorrect."),
    133010: ("Phone number not registered", 400, "The account is not registered."),
    133016: (
        "Account register rate limited",
        400,
        "Too many attempts to register or deregister this number.",
    ),
    135000: (
        "Generic user error",
        400,
        "Message failed to send because of an unknown error with your request.",
    ),
}

HREF = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/"


class GraphError(Exception):
    """A refusal of the Graph API."""

    def __init__(
        self,
        code: int,
        details: str = "",
        *,
        subcode: int | None = None,
        status: int | None = None,
        title: str | None = None,
        user_message: tuple[str, str] | None = None,
    ) -> None:
        usual_title, usual_status, usual_details = ERRORS.get(code, ("An unknown error occurred", 400, ""))
        self.code = code
        self.title = title or usual_title
        self.status = status or usual_status
        self.details = details or usual_details
        self.subcode = subcode
        self.user_message = user_message
        super().__init__(f"{code} {self.title} {self.details}")

    def as_answer(self) -> dict[str, Any]:
        prefix = "" if self.code == 190 else f"(#{self.code}) "
        error: dict[str, Any] = {
            "message": prefix + self.title,
            "type": "OAuthException",
            "code": self.code,
        }
        if self.details:
            error["error_data"] = {"messaging_product": "whatsapp", "details": self.details}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.user_message is not None:
            error["is_transient"] = False
            error["error_user_title"], error["error_user_msg"] = self.user_message
        error["fbtrace_id"] = "A" + secrets.token_urlsafe(16)[:22]
        return {"error": error}


def no_such_object(id: str, verb: str = "get") -> GraphError:
    """Graph says the same of an id that does not exist and of one the token may not see."""
    error = GraphError(100, subcode=33, title=f"Unsupported {verb} request.")
    error.title = (
        f"Unsupported {verb} request. Object with ID '{id[:64]}' does not exist, cannot be loaded due to missing "
        "permissions, or does not support this operation. Please read the Graph API documentation at "
        "https://developers.facebook.com/docs/graph-api"
    )
    error.details = ""
    return error


def as_status_error(code: int, details: str = "") -> dict[str, Any]:
    title, _, usual = ERRORS.get(code, ("An unknown error occurred", 400, "An unknown error occurred"))
    return {
        "code": code,
        "title": title,
        "message": title,
        "error_data": {"details": details or usual or title},
        "href": HREF,
    }
