"""Shopify's GraphQL Admin API: queries run against the real schema's subset, with cost, scopes and refusals.

Cost is what the documentation says (scalars 0, objects 1, mutations 10, connections by size); the growth of a
connection is sublinear, fitted to a published reply (250 nodes with one object each cost 24 points).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    build_schema,
    execute_sync,
    get_named_type,
    is_composite_type,
    is_leaf_type,
    parse,
    validate,
)

from sandbox.bucket import Bucket
from sandbox.catalogue import CURRENCY
from sandbox.errors import Refusal
from sandbox.shopify import CANCEL_REASONS, Shopify, orders
from sandbox.world import Record

SUPPORTED_VERSIONS = ("2026-01", "2026-04", "2026-07", "2026-10")
BUCKET, RESTORE = 2000.0, 100.0
MOST_PER_QUERY = 1000.0
MUTATION_COST = 10
LONGEST_QUERY = 50_000
SCHEMA_FILE = Path(__file__).with_name("admin.graphql")


def answered_version(asked: str) -> str | None:
    """The version that answers: an expired one falls forward to the oldest supported, an unknown one does not exist."""
    if asked in (*SUPPORTED_VERSIONS, "unstable"):
        return asked
    if re.fullmatch(r"20\d\d-(01|04|07|10)", asked):
        return SUPPORTED_VERSIONS[0] if asked < SUPPORTED_VERSIONS[0] else None
    return None


class AdminApi:
    def __init__(self, shopify: Shopify) -> None:
        self._shopify = shopify
        self._schema = build_schema(SCHEMA_FILE.read_text(encoding="utf-8"))
        self._buckets: dict[str, Bucket] = {}
        self._prepared = lru_cache(maxsize=256)(self._prepare)
        self._schema.type_map["Node"].resolve_type = lambda value, *_: value["__typename"]  # type: ignore[attr-defined]
        self._schema.type_map["DisplayableError"].resolve_type = lambda *_: "UserError"  # type: ignore[attr-defined]

    def forget_pace(self) -> None:
        self._buckets.clear()

    def run(self, shop: Record, body: Any) -> Record:
        """The reply to one POST, always HTTP 200 as with Shopify."""
        if not isinstance(body, dict) or not isinstance(body.get("query"), str) or not body["query"].strip():
            return {"errors": {"query": "Required parameter missing or invalid"}}
        variables = body.get("variables") or {}
        if not isinstance(variables, dict):
            return {"errors": [{"message": "Variables must be a JSON object"}]}
        name = body.get("operationName") if isinstance(body.get("operationName"), str) else None
        document, errors = self._prepared(body["query"])
        if document is None:
            return {"errors": errors}
        operation = operation_of(document, name)
        if operation is None:
            return {"errors": [{"message": f"No operation named {name!r}" if name else "Must provide operation name"}]}
        requested = Cost(self._schema, document, variables).of(operation)
        bucket = self._buckets.setdefault(shop["domain"], Bucket(BUCKET, RESTORE))
        if requested > MOST_PER_QUERY:
            message = f"Query cost is {requested:.0f}, which exceeds the single query max cost limit (1000)."
            extensions = {"code": "MAX_COST_EXCEEDED", "cost": requested, "maxCost": MOST_PER_QUERY}
            return {"errors": [{"message": message, "extensions": extensions}]}
        with self._shopify.world.lock:
            if not bucket.take(requested):
                throttled = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
                return {"errors": [throttled], "extensions": {"cost": cost_report(requested, None, bucket)}}
            root = Root(self._shopify, shop)
            result = execute_sync(
                self._schema,
                document,
                root,
                variable_values=variables,
                operation_name=name,
                context_value=root,
            )
            actual = Cost(self._schema, document, variables).spent(operation, result.data)
            bucket.give_back(max(requested - actual, 0))
        reply: Record = {"data": result.data}
        if result.errors:
            reply["errors"] = [shown_error(error) for error in result.errors]
        reply["extensions"] = {"cost": cost_report(requested, actual, bucket)}
        return reply

    def _prepare(self, query: str) -> tuple[DocumentNode | None, list[Record]]:
        """Parse and validate once per query text."""
        if len(query) > LONGEST_QUERY:
            return None, [{"message": "Query is too long"}]
        try:
            document = parse(query, max_tokens=5000)
            errors = validate(self._schema, document)
        except GraphQLError as error:
            return None, [shown_error(error)]
        except RecursionError:
            return None, [{"message": "Query is too deep"}]
        if errors:
            return None, [shown_error(error) for error in errors]
        return document, []


def operation_of(document: DocumentNode, name: str | None) -> OperationDefinitionNode | None:
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if name is None:
        return operations[0] if len(operations) == 1 else None
    return next((node for node in operations if node.name and node.name.value == name), None)


def shown_error(error: GraphQLError) -> Record:
    shown: Record = {"message": error.message}
    if error.locations:
        shown["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path:
        shown["path"] = list(error.path)
    if error.extensions:
        shown["extensions"] = dict(error.extensions)
    elif undefined := re.match(r"Cannot query field '(\w+)' on type '(\w+)'", error.message):
        field, owner = undefined.groups()
        shown["message"] = f"Field '{field}' doesn't exist on type '{owner}'"
        shown["extensions"] = {"code": "undefinedField", "typeName": owner, "fieldName": field}
    return shown


def cost_report(requested: float, actual: float | None, bucket: Bucket) -> Record:
    return {
        "requestedQueryCost": math.ceil(requested),
        "actualQueryCost": None if actual is None else math.ceil(actual),
        "throttleStatus": {
            "maximumAvailable": bucket.capacity,
            "currentlyAvailable": math.floor(bucket.available),
            "restoreRate": bucket.per_second,
        },
    }


def weight_of_connection(size: int) -> float:
    return min(size, math.floor(2 * math.log(size))) if size > 1 else size


class Cost:
    """What a query may cost, and what its answer did cost."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, variables: Record) -> None:
        self._schema = schema
        self._variables = variables
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }

    def of(self, operation: OperationDefinitionNode) -> float:
        root = self._root(operation)
        if operation.operation == OperationType.MUTATION:
            return MUTATION_COST * len(self._fields(root, operation.selection_set))
        return self._selection(root, operation.selection_set, None, counting=False)

    def spent(self, operation: OperationDefinitionNode, data: Any) -> float:
        root = self._root(operation)
        if operation.operation == OperationType.MUTATION:
            return MUTATION_COST * len(self._fields(root, operation.selection_set))
        return self._selection(root, operation.selection_set, data, counting=True)

    def _root(self, operation: OperationDefinitionNode) -> Any:
        mutation = operation.operation == OperationType.MUTATION
        return self._schema.mutation_type if mutation else self._schema.query_type

    def _fields(self, owner: Any, selection: SelectionSetNode | None) -> list[tuple[Any, FieldNode]]:
        found: list[tuple[Any, FieldNode]] = []
        for node in selection.selections if selection else ():
            if isinstance(node, FieldNode):
                found.append((owner, node))
            elif isinstance(node, InlineFragmentNode):
                on = node.type_condition
                found += self._fields(self._schema.type_map[on.name.value] if on else owner, node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                fragment = self._fragments[node.name.value]
                found += self._fields(self._schema.type_map[fragment.type_condition.name.value], fragment.selection_set)
        return found

    def _selection(self, owner: Any, selection: SelectionSetNode | None, data: Any, counting: bool) -> float:
        total = 0.0
        for parent, node in self._fields(owner, selection):
            fields = getattr(parent, "fields", {})
            if node.name.value not in fields:  # __typename
                continue
            kind = get_named_type(fields[node.name.value].type)
            if is_leaf_type(kind) or not is_composite_type(kind):
                continue
            key = (node.alias or node.name).value
            value = data.get(key) if isinstance(data, dict) else None
            if kind.name.endswith("Connection"):
                total += self._connection(kind, node, value, counting)
            elif kind.name == "PageInfo" or kind.name in ("MoneyBag", "MoneyV2", "UserError"):
                continue
            else:
                size = len(value) if counting and isinstance(value, list) else 1
                first = value[0] if isinstance(value, list) and value else value
                total += size * (1 + self._selection(kind, node.selection_set, first, counting))
        return total

    def _connection(self, kind: Any, node: FieldNode, value: Any, counting: bool) -> float:
        size = self._size(node)
        inner = 0.0
        for parent, child in self._fields(kind, node.selection_set):
            name = child.name.value
            if name not in ("nodes", "edges"):
                continue
            held = value.get((child.alias or child.name).value) if isinstance(value, dict) else None
            items = held if isinstance(held, list) else []
            if counting:
                size = min(size, len(items))
            one = items[0] if items else None
            target = get_named_type(parent.fields[name].type)
            selection = child.selection_set
            if name == "edges":
                for edge, grandchild in self._fields(target, selection):
                    if grandchild.name.value == "node":
                        node_type = get_named_type(edge.fields["node"].type)
                        one_node = one.get("node") if isinstance(one, dict) else None
                        inner += 1 + self._selection(node_type, grandchild.selection_set, one_node, counting)
            else:
                inner += 1 + self._selection(target, selection, one, counting)
        return 2 + weight_of_connection(size) * inner

    def _size(self, node: FieldNode) -> int:
        for argument in node.arguments or ():
            if argument.name.value in ("first", "last"):
                value: Any = None
                if isinstance(argument.value, IntValueNode):
                    value = int(argument.value.value)
                elif isinstance(argument.value, VariableNode):
                    value = self._variables.get(argument.value.name.value)
                if isinstance(value, int):
                    return max(0, min(value, 250))
        return 1


# What the fields say


def bag(amount: str) -> Record:
    one = {"amount": amount, "currencyCode": CURRENCY}
    return {"shopMoney": one, "presentmentMoney": one}


def gid(kind: str, id: Any) -> str:
    return f"gid://shopify/{kind}/{id}"


def number_of(kind: str, id: str) -> str:
    match = re.fullmatch(rf"gid://shopify/{kind}/(\d{{1,20}})(\?.*)?", id)
    if match is None:
        raise GraphQLError(f"Invalid global id '{id[:80]}'", extensions={"code": "argumentLiteralsIncompatible"})
    return match[1]


def denied(field: str, *scopes: str) -> GraphQLError:
    required = " or ".join(f"`{scope}` access scope" for scope in scopes)
    return GraphQLError(
        f"Access denied for {field} field. Required access: {required}.",
        extensions={
            "code": "ACCESS_DENIED",
            "documentation": "https://shopify.dev/api/usage/access-scopes",
            "requiredAccess": f"{required}.",
        },
    )


WHOSE = ("assigned", "merchant_managed", "third_party")
MAY_READ_WORK = tuple(f"read_{whose}_fulfillment_orders" for whose in WHOSE)
MAY_FULFIL = tuple(f"write_{whose}_fulfillment_orders" for whose in WHOSE)


class Root:
    """The root value of one request: a store and what this installation may see of it."""

    def __init__(self, shopify: Shopify, shop: Record) -> None:
        self._shopify = shopify
        self._shop = shop
        self._by_customer: dict[int, list[Record]] | None = None

    def needs(self, field: str, *scopes: str) -> None:
        """One of these."""
        granted = set(self._shop["scopes"])
        implied = {name.replace("write_", "read_", 1) for name in granted if name.startswith("write_")}
        if not (granted | implied) & set(scopes):
            raise denied(field, *scopes)

    # Queries

    def shop(self, info: Any) -> Record:
        shop = self._shop
        url = f"https://{shop['domain']}"
        return {
            "__typename": "Shop",
            "id": gid("Shop", shop["id"]),
            "name": shop["name"],
            "email": shop["email"],
            "contactEmail": shop["email"],
            "myshopifyDomain": shop["domain"],
            "primaryDomain": {
                "id": gid("Domain", shop["id"]),
                "host": shop["domain"],
                "url": url,
                "sslEnabled": True,
            },
            "url": url,
            "ianaTimezone": shop["iana_timezone"],
            "timezoneAbbreviation": "PKT",
            "timezoneOffset": "+0500",
            "currencyCode": shop["currency"],
            "billingAddress": {
                "id": gid("ShopAddress", shop["id"]),
                "address1": "1 Gulberg",
                "city": "Lahore",
                "province": "Punjab",
                "provinceCode": "PB",
                "zip": "54000",
                "country": "Pakistan",
                "countryCodeV2": shop["country_code"],
                "company": shop["name"],
            },
            "plan": {
                "displayName": shop["plan"],
                "publicDisplayName": shop["plan"],
                "partnerDevelopment": False,
                "shopifyPlus": False,
            },
            "shopOwnerName": "Shop Owner",
            "createdAt": "2025-01-15T08:00:00Z",
        }

    def currentAppInstallation(self, info: Any) -> Record:
        return {
            "__typename": "AppInstallation",
            "id": gid("AppInstallation", self._shop["id"]),
            "accessScopes": [
                {"handle": scope, "description": scope.replace("_", " ").capitalize()} for scope in self._shop["scopes"]
            ],
            "launchUrl": f"https://admin.shopify.com/store/{self._shop['handle']}/apps/dastak",
        }

    def order(self, info: Any, id: str) -> Record | None:
        self.needs("order", "read_orders")
        order = self._found(id)
        return order and self._view(order)

    def orders(self, info: Any, **arguments: Any) -> Record:
        self.needs("orders", "read_orders")
        chosen = self._matching(arguments.get("query"))
        key = SORTS[arguments.get("sortKey") or "PROCESSED_AT"]
        chosen.sort(key=lambda order: (key(order), order["body"]["id"]), reverse=bool(arguments.get("reverse")))

        def place(order: Record) -> list[Any]:
            return [key(order), order["body"]["id"]]

        return connection(chosen, self._view, arguments, place)

    def ordersCount(self, info: Any, query: str | None = None, limit: int | None = None) -> Record:
        self.needs("ordersCount", "read_orders")
        return {"count": len(self._matching(query)), "precision": "EXACT"}

    def job(self, info: Any, id: str) -> Record:
        return {"id": id, "done": self._shopify.job_done(id.rpartition("/")[2])}

    def node(self, info: Any, id: str) -> Record | None:
        if id == gid("Shop", self._shop["id"]):
            return self.shop(info)
        return self.order(info, id) if "/Order/" in id else None

    def nodes(self, info: Any, ids: list[str]) -> list[Record | None]:
        return [self.node(info, id) for id in ids[:250]]

    def _found(self, id: str) -> Record | None:
        order = self._shopify.orders.get(number_of("Order", id))
        if order is None or order["shop"] != self._shop["domain"] or not self._visible(order):
            return None
        return order

    def _visible(self, order: Record) -> bool:
        if "read_all_orders" in self._shop["scopes"]:
            return True
        horizon = orders.visible_since(self._shopify.world.clock.now())
        return str(order["body"]["created_at"]) >= orders.stamp(horizon, self._shop["iana_timezone"])

    def _matching(self, query: str | None) -> list[Record]:
        conditions = conditions_of(query or "")
        return [
            order
            for order in self._shopify.orders.values()
            if order["shop"] == self._shop["domain"]
            and self._visible(order)
            and all(condition(order) for condition in conditions)
        ]

    # Mutations

    def tagsAdd(self, info: Any, id: str, tags: list[str]) -> Record:
        return self._tagged("tagsAdd", id, tags, self._shopify.add_tags)

    def tagsRemove(self, info: Any, id: str, tags: list[str]) -> Record:
        return self._tagged("tagsRemove", id, tags, self._shopify.remove_tags)

    def _tagged(self, field: str, id: str, tags: list[str], act: Callable[[Record, list[str]], None]) -> Record:
        self.needs(field, "write_orders")
        order = self._found(id)
        if order is None:
            return {"node": None, "userErrors": [{"field": ["id"], "message": "Order does not exist"}]}
        if any(len(tag) > 40 for tag in tags):
            message = "Tags is invalid: a tag has at most 40 characters"
            return {"node": None, "userErrors": [{"field": ["tags"], "message": message}]}
        if len(set(orders.tag_list(order["body"])) | set(tags)) > 250:
            return {
                "node": None,
                "userErrors": [{"field": ["tags"], "message": "An order has at most 250 tags"}],
            }
        act(order, tags)
        return {"node": self._view(order), "userErrors": []}

    def orderCancel(self, info: Any, orderId: str, restock: bool, reason: str, **rest: Any) -> Record:
        self.needs("orderCancel", "write_orders")
        order = self._found(orderId)
        errors: list[Record] = []
        if order is None:
            errors.append({"code": "NOT_FOUND", "field": ["orderId"], "message": "Order does not exist"})
        elif why := self._shopify.why_not_cancel(order):
            errors.append({"code": "INVALID", "field": ["orderId"], "message": why})
        elif len(rest.get("staffNote") or "") > 255:
            errors.append({"code": "INVALID", "field": ["staffNote"], "message": "Staff note is too long"})
        if errors or order is None:
            return {"job": None, "orderCancelUserErrors": errors, "userErrors": errors}
        method = rest.get("refundMethod") or {}
        refund = bool(rest.get("refund") or method.get("originalPaymentMethodsRefund"))
        assert reason.lower() in CANCEL_REASONS
        job = self._shopify.cancel(order, reason.lower(), refund)
        return {"job": {"id": gid("Job", job), "done": False}, "orderCancelUserErrors": [], "userErrors": []}

    def orderMarkAsPaid(self, info: Any, input: Record) -> Record:
        self.needs("orderMarkAsPaid", "write_orders")
        order = self._found(input["id"])
        if order is None:
            return {"order": None, "userErrors": [{"field": ["id"], "message": "Order does not exist"}]}
        try:
            self._shopify.pay(order)
        except Refusal:
            return {
                "order": None,
                "userErrors": [{"field": ["id"], "message": "Order cannot be marked as paid."}],
            }
        return {"order": self._view(order), "userErrors": []}

    def orderUpdate(self, info: Any, input: Record) -> Record:
        """note, tags and customAttributes overwrite what was there."""
        self.needs("orderUpdate", "write_orders")
        order = self._found(input["id"])
        if order is None:
            return {"order": None, "userErrors": [{"field": ["id"], "message": "Order does not exist"}]}
        changes: Record = {}
        for name in ("note", "email", "phone"):
            if name in input:
                changes[name] = input[name]
        if "tags" in input:
            changes["tags"] = ", ".join(sorted(input["tags"] or [], key=str.casefold))
        if "customAttributes" in input:
            changes["note_attributes"] = [
                {"name": pair["key"], "value": pair["value"]} for pair in input["customAttributes"] or []
            ]
        self._shopify.update(order, **changes)
        return {"order": self._view(order), "userErrors": []}

    def metafieldsSet(self, info: Any, metafields: list[Record]) -> Record:
        """At most 25, all or none."""
        self.needs("metafieldsSet", "write_orders")
        if len(metafields) > 25:
            message = "Exceeded the maximum metafields input limit of 25."
            return {"metafields": None, "userErrors": [metafield_error("LESS_THAN_OR_EQUAL_TO", 0, message)]}
        errors, targets = [], []
        for index, stated in enumerate(metafields):
            order = self._found(stated["ownerId"])
            namespace = own_namespace(stated.get("namespace"))
            known = order["metafields"].get(f"{namespace}.{stated['key']}") if order else None
            if order is None:
                errors.append(metafield_error("INVALID_VALUE", index, "Owner does not exist."))
            elif not 2 <= len(stated["key"]) <= 64 or not re.fullmatch(r"[A-Za-z0-9_-]+", stated["key"]):
                errors.append(metafield_error("INVALID_VALUE", index, "Key is invalid."))
            elif not stated["value"]:
                errors.append(metafield_error("BLANK", index, "Value can't be blank."))
            elif not (stated.get("type") or known):
                errors.append(metafield_error("BLANK", index, "Type can't be blank."))
            elif "compareDigest" in stated and stated["compareDigest"] != (known and known["compareDigest"]):
                message = "The resource has been updated since it was loaded. Try again with an updated value."
                errors.append(metafield_error("STALE_OBJECT", index, message))
            else:
                targets.append((order, namespace, stated, known))
        if errors:
            return {"metafields": [], "userErrors": errors}
        written = []
        for order, namespace, stated, known in targets:
            now = self._shopify.now(order)
            field = {
                "__typename": "Metafield",
                "id": known["id"]
                if known
                else gid("Metafield", self._shopify.world.next_number("metafield", 35_000_000_001)),
                "namespace": namespace,
                "key": stated["key"],
                "value": stated["value"],
                "type": stated.get("type") or (known and known["type"]),
                "compareDigest": hashlib.sha256(stated["value"].encode()).hexdigest(),
                "createdAt": known["createdAt"] if known else now,
                "updatedAt": now,
            }
            order["metafields"][f"{namespace}.{stated['key']}"] = field
            written.append(field)
        for order in {target[0]["key"]: target[0] for target in targets}.values():
            self._shopify.change(order, ["orders/updated"])
        return {"metafields": written, "userErrors": []}

    def fulfillmentCreate(self, info: Any, fulfillment: Record, message: str | None = None) -> Record:
        """Fulfilment orders of one order and one location, whole lines. Neither the id of another shop's nor one that
        never was is an error of the user's.
        """
        self.needs("fulfillmentCreate", *MAY_FULFIL)
        parts = fulfillment["lineItemsByFulfillmentOrder"]
        found = [self._work(part["fulfillmentOrderId"]) for part in parts]
        whole = [one for one in found if one is not None]
        if not whole or len(whole) < len(found):
            raise GraphQLError("invalid id", extensions={"code": "RESOURCE_NOT_FOUND"})
        order, work = whole[0][0], [one for _, one in whole]
        if why := _why_not_fulfil(whole, parts):
            return {"fulfillment": None, "userErrors": [{"field": ["fulfillment"], "message": why}]}
        told = fulfillment.get("trackingInfo") or {}
        number, url = (told.get(name) or next(iter(told.get(f"{name}s") or ()), None) for name in ("number", "url"))
        made = self._shopify.fulfil(order, told.get("company"), number, url, work)
        return {"fulfillment": fulfillment_view(made, order), "userErrors": []}

    def fulfillmentCancel(self, info: Any, id: str) -> Record:
        self.needs("fulfillmentCancel", *MAY_FULFIL)
        found = self._fulfillment(id)
        if found is None:
            return {"fulfillment": None, "userErrors": [{"field": ["id"], "message": "Fulfillment not found."}]}
        order, one = found
        self._shopify.cancel_fulfillment(order, one)
        return {"fulfillment": fulfillment_view(one, order), "userErrors": []}

    def fulfillmentEventCreate(self, info: Any, fulfillmentEvent: Record) -> Record:
        """The legacy scope: those of fulfilment orders do not cover it."""
        self.needs("fulfillmentEventCreate", "write_fulfillments")
        found = self._fulfillment(fulfillmentEvent["fulfillmentId"])
        if found is None or found[1]["status"] == "cancelled":
            message = "Fulfillment does not exist." if found is None else "Fulfillment is cancelled."
            error = {"field": ["fulfillmentEvent", "fulfillmentId"], "message": message}
            return {"fulfillmentEvent": None, "userErrors": [error]}
        order, one = found
        zone = self._shop["iana_timezone"]
        stated = {name: value for name, value in fulfillmentEvent.items() if name not in ("fulfillmentId", "status")}
        for name, theirs in (("happenedAt", "happened_at"), ("estimatedDeliveryAt", "estimated_delivery_at")):
            if (raw := stated.pop(name, None)) is not None:
                stated[theirs] = orders.stamp(_moment(raw), zone)
        made = self._shopify.event(order, one, stated | {"status": fulfillmentEvent["status"].lower()})
        return {"fulfillmentEvent": event_view(made), "userErrors": []}

    def _owner(self, kind: str, id: str) -> tuple[Record | None, int]:
        """The order that a fulfilment or a fulfilment order is of: their ids begin with its id."""
        number = number_of(kind, id)
        order = self._shopify.orders.get(number[: len(str(orders.FIRST_ID))])
        seen = order is not None and order["shop"] == self._shop["domain"] and self._visible(order)
        return (order if seen else None), int(number)

    def _work(self, id: str) -> tuple[Record, Record] | None:
        order, number = self._owner("FulfillmentOrder", id)
        work = orders.fulfillment_orders(order) if order else []
        return next(((order, one) for one in work if order and one["id"] == number), None)

    def _fulfillment(self, id: str) -> tuple[Record, Record] | None:
        order, number = self._owner("Fulfillment", id)
        sent = order["body"]["fulfillments"] if order else []
        return next(((order, one) for one in sent if order and one["id"] == number), None)

    # The views

    def _view(self, order: Record) -> Record:
        body = order["body"]
        refunded = sum(float(t["amount"]) for t in order["transactions"] if t["kind"] == "REFUND")
        received = sum(
            float(t["amount"])
            for t in order["transactions"]
            if t["kind"] in ("SALE", "CAPTURE") and t["status"] == "SUCCESS"
        )
        lines = [self._line(line) for line in body["line_items"]]
        return {
            "__typename": "Order",
            "id": body["admin_graphql_api_id"],
            "legacyResourceId": str(body["id"]),
            "name": body["name"],
            "number": body["number"],
            "confirmationNumber": body["confirmation_number"],
            "createdAt": utc(body["created_at"]),
            "updatedAt": utc(body["updated_at"]),
            "processedAt": utc(body["processed_at"]),
            "cancelledAt": utc(body["cancelled_at"]),
            "cancelReason": body["cancel_reason"] and body["cancel_reason"].upper(),
            "closed": body["closed_at"] is not None,
            "closedAt": utc(body["closed_at"]),
            "test": body["test"],
            "confirmed": body["confirmed"],
            "currencyCode": body["currency"],
            "presentmentCurrencyCode": body["presentment_currency"],
            "currentTotalPriceSet": bag(body["current_total_price"]),
            "currentSubtotalPriceSet": bag(body["current_subtotal_price"]),
            "totalPriceSet": bag(body["total_price"]),
            "subtotalPriceSet": bag(body["subtotal_price"]),
            "totalShippingPriceSet": bag(body["shipping_lines"][0]["price"]),
            "totalDiscountsSet": bag(body["total_discounts"]),
            "totalTaxSet": bag(body["total_tax"]),
            "totalOutstandingSet": bag(body["total_outstanding"]),
            "totalReceivedSet": bag(f"{received:.2f}"),
            "totalRefundedSet": bag(f"{refunded:.2f}"),
            "displayFinancialStatus": body["financial_status"].upper(),
            "displayFulfillmentStatus": (body["fulfillment_status"] or "unfulfilled").upper(),
            "fullyPaid": body["financial_status"] == "paid",
            "unpaid": body["financial_status"] in ("pending", "authorized"),
            "paymentGatewayNames": body["payment_gateway_names"],
            "email": body["email"] or None,
            "phone": body["phone"],
            "customerLocale": body["customer_locale"],
            "tags": orders.tag_list(body),
            "note": body["note"],
            "customAttributes": [{"key": pair["name"], "value": pair["value"]} for pair in body["note_attributes"]],
            "discountCodes": [],
            "sourceName": body["source_name"],
            "sourceIdentifier": body["source_identifier"],
            "statusPageUrl": body["order_status_url"],
            "canMarkAsPaid": orders.can_be_paid(order),
            "customer": lambda info: self._customer(body["customer"]),
            "shippingAddress": address(body["shipping_address"], body["id"]),
            "billingAddress": address(body["billing_address"], body["id"]),
            "lineItems": lambda info, **arguments: connection(lines, dict, arguments, lambda line: [line["id"]]),
            "fulfillments": lambda info, first=None, query=None: [
                fulfillment_view(one, order) for one in body["fulfillments"][:first]
            ],
            "fulfillmentOrders": lambda info, **arguments: self._works(order, arguments),
            "transactions": lambda info, first=None, **_: [transaction(one) for one in order["transactions"][:first]],
            "refunds": lambda info, first=None: [
                {
                    "__typename": "Refund",
                    "id": one["admin_graphql_api_id"],
                    "note": one["note"],
                    "createdAt": utc(one["created_at"]),
                    "totalRefundedSet": bag(one["transactions"][0]["amount"]),
                }
                for one in body["refunds"][:first]
            ],
            "metafield": lambda info, key, namespace=None: order["metafields"].get(
                f"{own_namespace(namespace)}.{key}" if "." not in key or namespace else key
            ),
            "metafields": lambda info, namespace=None, keys=None, **arguments: connection(
                [
                    field
                    for field in order["metafields"].values()
                    if (namespace is None or field["namespace"] == own_namespace(namespace))
                    and (keys is None or field["key"] in keys or f"{field['namespace']}.{field['key']}" in keys)
                ],
                dict,
                arguments,
                lambda field: [field["id"]],
            ),
        }

    def _works(self, order: Record, arguments: Record) -> Record:
        self.needs("fulfillmentOrders", *MAY_READ_WORK)
        found = orders.fulfillment_orders(order)
        return connection(found, lambda one: work_view(one, order), arguments, lambda one: [one["id"]])

    def _line(self, line: Record) -> Record:
        total = f"{float(line['price']) * line['quantity']:.2f}"

        def product(info: Any) -> Record:
            self.needs("product", "read_products")
            handle = line["title"].lower().replace(" ", "-")
            return {
                "__typename": "Product",
                "id": gid("Product", line["product_id"]),
                "title": line["title"],
                "handle": handle,
            }

        def variant(info: Any) -> Record:
            self.needs("variant", "read_products")
            return {
                "__typename": "ProductVariant",
                "id": gid("ProductVariant", line["variant_id"]),
                "title": line["variant_title"] or "Default Title",
                "sku": line["sku"],
            }

        return {
            "__typename": "LineItem",
            "id": line["admin_graphql_api_id"],
            "title": line["title"],
            "variantTitle": line["variant_title"],
            "name": line["name"],
            "sku": line["sku"],
            "vendor": line["vendor"],
            "quantity": line["quantity"],
            "currentQuantity": line["current_quantity"],
            "unfulfilledQuantity": line["fulfillable_quantity"],
            "requiresShipping": line["requires_shipping"],
            "originalUnitPriceSet": bag(line["price"]),
            "discountedUnitPriceSet": bag(line["price"]),
            "originalTotalSet": bag(total),
            "discountedTotalSet": lambda info, **_: bag(total),
            "totalDiscountSet": bag(line["total_discount"]),
            "customAttributes": [],
            "image": None,
            "product": product,
            "variant": variant,
        }

    def _customer(self, customer: Record | None) -> Record | None:
        if customer is None:
            return None
        self.needs("customer", "read_customers")
        if self._by_customer is None:  # counted once per request, not once per order of a page
            self._by_customer = {}
            for order in self._shopify.orders.values():
                if order["shop"] == self._shop["domain"] and order["body"]["customer"]:
                    self._by_customer.setdefault(order["body"]["customer"]["id"], []).append(order)
        theirs = self._by_customer.get(customer["id"], [])
        name = " ".join(filter(None, (customer["first_name"], customer["last_name"])))
        locale = (theirs[-1]["body"]["customer_locale"] if theirs else None) or "en"
        return {
            "__typename": "Customer",
            "id": customer["admin_graphql_api_id"],
            "legacyResourceId": str(customer["id"]),
            "firstName": customer["first_name"],
            "lastName": customer["last_name"],
            "displayName": name or customer["email"] or customer["phone"] or "Customer",
            "locale": locale,
            "createdAt": utc(customer["created_at"]),
            "updatedAt": utc(customer["updated_at"]),
            "note": customer["note"],
            "tags": [],
            "verifiedEmail": customer["verified_email"],
            "numberOfOrders": str(len(theirs)),
            "defaultPhoneNumber": customer["phone"]
            and {
                "phoneNumber": customer["phone"],
                "marketingState": "NOT_SUBSCRIBED",
                "whatsAppMarketingConsent": {"state": "NOT_SUBSCRIBED", "updatedAt": None},
            },
            "defaultEmailAddress": customer["email"] and {"emailAddress": customer["email"]},
            "defaultAddress": address(customer["default_address"], customer["id"]),
        }


def utc(stamp: str | None) -> str | None:
    """The Admin API states times in UTC, the webhooks in the store's zone."""
    if stamp is None:
        return None
    return orders.stamp(orders.datetime.fromisoformat(stamp), "UTC").replace("+00:00", "Z")


def own_namespace(namespace: str | None) -> str:
    """`$app:` (and no namespace at all) stands for the app's reserved namespace."""
    if namespace is None:
        return "app--1"
    return namespace.replace("$app", "app--1").replace(":", "--") if namespace.startswith("$app") else namespace


def metafield_error(code: str, index: int, message: str) -> Record:
    return {"code": code, "elementIndex": index, "field": ["metafields", str(index)], "message": message}


def address(stated: Record | None, owner: int) -> Record | None:
    if stated is None:
        return None
    street = [stated["name"], stated["address1"], stated["city"], stated["country"]]
    return {
        "__typename": "MailingAddress",
        "id": gid("MailingAddress", owner),
        "firstName": stated["first_name"],
        "lastName": stated["last_name"],
        "name": stated["name"],
        "company": stated["company"],
        "phone": stated["phone"],
        "address1": stated["address1"],
        "address2": stated["address2"],
        "city": stated["city"],
        "province": stated["province"],
        "provinceCode": stated["province_code"],
        "zip": stated["zip"],
        "country": stated["country"],
        "countryCodeV2": stated["country_code"],
        "latitude": stated.get("latitude"),
        "longitude": stated.get("longitude"),
        "formatted": lambda info, withName=False, withCompany=True: [
            line for line in street[0 if withName else 1 :] if line
        ],
    }


def _moment(raw: Any) -> Any:
    try:
        return orders.datetime.fromisoformat(str(raw))
    except ValueError:
        message = f"Variable $fulfillmentEvent of type FulfillmentEventInput! was provided invalid value {raw!r}"
        raise GraphQLError(message[:300], extensions={"code": "INVALID_VARIABLE"}) from None


def _why_not_fulfil(found: list[tuple[Record, Record]], parts: list[Record]) -> str:
    """The refusal that Shopify has for these fulfilment orders of one request; empty when it takes them."""
    if len({order["key"] for order, _ in found}) > 1:
        return "All fulfillment orders must belong to the same order."
    if len({one["location"] for _, one in found}) > 1:
        return "All fulfillment orders must be assigned to the same location."
    for (_, one), part in zip(found, parts, strict=True):
        if one["status"] != "OPEN":
            return f"Fulfillment order {one['id']} has an unfulfillable status= {one['status'].lower()}."
        whole = {gid("FulfillmentOrderLineItem", line["id"]): line["fulfillable_quantity"] for line in one["lines"]}
        asked = {line["id"]: line["quantity"] for line in part.get("fulfillmentOrderLineItems") or ()}
        if asked and asked != whole:
            return "Invalid fulfillment order line item quantity requested."
    return ""


def work_view(one: Record, order: Record) -> Record:
    body = order["body"]

    def line(held: Record) -> Record:
        return {
            "__typename": "FulfillmentOrderLineItem",
            "id": gid("FulfillmentOrderLineItem", held["id"]),
            "totalQuantity": held["quantity"],
            "remainingQuantity": held["fulfillable_quantity"],
            "sku": held["sku"],
        }

    return {
        "__typename": "FulfillmentOrder",
        "id": gid("FulfillmentOrder", one["id"]),
        "status": one["status"],
        "orderId": body["admin_graphql_api_id"],
        "orderName": body["name"],
        "createdAt": utc(body["created_at"]),
        "updatedAt": utc(body["updated_at"]),
        "assignedLocation": {
            "name": one["location_name"],
            "address1": "1 Gulberg",
            "city": one["location_name"].split()[0],
            "countryCode": "PK",
        },
        "lineItems": lambda info, **arguments: connection(one["lines"], line, arguments, lambda held: [held["id"]]),
    }


def event_view(one: Record) -> Record:
    places = ("address1", "city", "province", "country", "zip", "latitude", "longitude")
    return {
        "__typename": "FulfillmentEvent",
        "id": one["admin_graphql_api_id"],
        "status": one["status"].upper(),
        "happenedAt": utc(one["happened_at"]),
        "message": one["message"],
        "estimatedDeliveryAt": utc(one["estimated_delivery_at"]),
        "createdAt": utc(one["created_at"]),
        **{name: one[name] for name in places},
    }


def fulfillment_view(one: Record, order: Record) -> Record:
    shipped = one["shipment_status"]
    displayed = "CANCELED" if one["status"] == "cancelled" else shipped.upper() if shipped else "FULFILLED"

    def events(info: Any, sortKey: str | None = None, **arguments: Any) -> Record:
        told = [event for event in order.get("events", ()) if event["fulfillment_id"] == one["id"]]

        def place(event: Record) -> list[Any]:
            return [event["id"]] if sortKey == "ID" else [event["happened_at"], event["id"]]

        told.sort(key=place, reverse=bool(arguments.get("reverse")))
        return connection(told, event_view, arguments, place)

    tracking = {
        "company": one["tracking_company"],
        "number": one["tracking_number"],
        "url": one["tracking_url"],
    }
    return {
        "__typename": "Fulfillment",
        "id": one["admin_graphql_api_id"],
        "legacyResourceId": str(one["id"]),
        "name": one["name"],
        "status": one["status"].upper(),
        "displayStatus": displayed,
        "trackingInfo": lambda info, first=None: [tracking] if one["tracking_number"] else [],
        "createdAt": utc(one["created_at"]),
        "updatedAt": utc(one["updated_at"]),
        "deliveredAt": utc(one["updated_at"]) if shipped == "delivered" else None,
        "estimatedDeliveryAt": None,
        "events": events,
    }


def transaction(one: Record) -> Record:
    return {
        "__typename": "OrderTransaction",
        "id": gid("OrderTransaction", one["id"]),
        "kind": one["kind"],
        "status": one["status"],
        "gateway": one["gateway"],
        "formattedGateway": one["gateway"],
        "manualPaymentGateway": one["manual"],
        "amountSet": bag(one["amount"]),
        "createdAt": utc(one["created_at"]),
        "processedAt": utc(one["created_at"]),
        "test": False,
    }


def connection(
    found: list[Record],
    view: Callable[[Record], Record],
    arguments: Record,
    place: Callable[[Record], list[Any]],
) -> Record:
    """A page of a list. A cursor holds the place, not the position, so rows may move between pages."""
    first = arguments.get("first")
    if first is None and arguments.get("last") is None:
        raise GraphQLError("you must provide one of first or last", extensions={"code": "BAD_REQUEST"})
    size: int = first if first is not None else arguments["last"]
    if not 0 <= size <= 250:
        raise GraphQLError("first and last are from 0 to 250", extensions={"code": "BAD_REQUEST"})
    start, end = 0, len(found)
    if arguments.get("after"):
        start = position_of(found, place, arguments["after"], bool(arguments.get("reverse"))) + 1
    if arguments.get("before"):
        end = position_of(found, place, arguments["before"], bool(arguments.get("reverse")))
    chosen = range(start, min(end, start + size)) if first is not None else range(max(start, end - size), end)
    nodes = [view(found[index]) for index in chosen]
    cursors = [cursor_at(place(found[index])) for index in chosen]
    return {
        "nodes": nodes,
        "edges": [{"cursor": cursor, "node": node} for cursor, node in zip(cursors, nodes, strict=True)],
        "pageInfo": {
            "hasNextPage": bool(chosen) and chosen[-1] + 1 < len(found),
            "hasPreviousPage": bool(chosen) and chosen[0] > 0,
            "startCursor": cursors[0] if cursors else None,
            "endCursor": cursors[-1] if cursors else None,
        },
    }


def cursor_at(place: list[Any]) -> str:
    return base64.urlsafe_b64encode("\x1f".join(map(str, place)).encode()).decode()


def position_of(found: list[Record], place: Callable[[Record], list[Any]], cursor: str, backwards: bool) -> int:
    """The index of the item the cursor names, or of the last one before its place if it is gone."""
    try:
        wanted = base64.urlsafe_b64decode(cursor.encode()).decode().split("\x1f")
    except (binascii.Error, UnicodeError, ValueError):
        raise GraphQLError("Invalid cursor for current pagination sort.", extensions={"code": "BAD_REQUEST"}) from None
    before = -1
    for index, item in enumerate(found):
        here = list(map(str, place(item)))
        if here == wanted:
            return index
        if len(here) == len(wanted) and (here < wanted) != backwards:
            before = index
    return before


def _text(name: str) -> Callable[[Record], Any]:
    return lambda order: order["body"][name] or ""


SORTS: dict[str, Callable[[Record], Any]] = {
    "CREATED_AT": _text("created_at"),
    "UPDATED_AT": _text("updated_at"),
    "PROCESSED_AT": _text("processed_at"),
    "ID": lambda order: order["body"]["id"],
    "ORDER_NUMBER": lambda order: order["body"]["order_number"],
    "TOTAL_PRICE": lambda order: float(order["body"]["total_price"]),
    "FINANCIAL_STATUS": _text("financial_status"),
    "FULFILLMENT_STATUS": _text("fulfillment_status"),
    "CUSTOMER_NAME": lambda order: (order["body"]["shipping_address"] or {}).get("last_name") or "",
    "DESTINATION": lambda order: (order["body"]["shipping_address"] or {}).get("city") or "",
    "PO_NUMBER": lambda order: "",
    "RELEVANCE": lambda order: order["body"]["id"],
    "TOTAL_ITEMS_QUANTITY": lambda order: sum(line["quantity"] for line in order["body"]["line_items"]),
}

TERM = re.compile(r"""(-?)(\w+):(>=|<=|>|<)?("[^"]*"|'[^']*'|\S+)""")
STATUSES: dict[str, Callable[[Record], bool]] = {
    "any": lambda body: True,
    "open": lambda body: body["closed_at"] is None and body["cancelled_at"] is None,
    "closed": lambda body: body["closed_at"] is not None and body["cancelled_at"] is None,
    "cancelled": lambda body: body["cancelled_at"] is not None,
    "not_closed": lambda body: body["closed_at"] is None,
}
DATES = ("created_at", "updated_at", "processed_at", "cancelled_at", "closed_at")
EQUAL: dict[str, Callable[[Record], Any]] = {
    "id": lambda body: str(body["id"]),
    "name": lambda body: body["name"].lstrip("#"),
    "email": lambda body: body["email"],
    "financial_status": lambda body: body["financial_status"],
    "fulfillment_status": lambda body: body["fulfillment_status"] or "unfulfilled",
    "gateway": lambda body: body["payment_gateway_names"][0],
    "checkout_token": lambda body: body["checkout_token"],
    "cart_token": lambda body: body["cart_token"],
    "source_name": lambda body: body["source_name"],
    "test": lambda body: str(body["test"]).lower(),
    "confirmation_number": lambda body: body["confirmation_number"],
}


def conditions_of(query: str) -> list[Callable[[Record], bool]]:
    """The search syntax, as far as order searches use it: terms joined by AND. Shopify ignores fields it does not
    know, and so does this."""
    conditions: list[Callable[[Record], bool]] = []
    for minus, field, comparison, value in TERM.findall(query):
        condition = _condition(field, comparison, value.strip("\"'"))
        if condition is not None:
            conditions.append(_opposite(condition) if minus else condition)
    return conditions


def _opposite(condition: Callable[[Record], bool]) -> Callable[[Record], bool]:
    return lambda order: not condition(order)


def _condition(field: str, comparison: str, value: str) -> Callable[[Record], bool] | None:
    if field in DATES:
        try:
            bound = orders.datetime.fromisoformat(value)
        except ValueError:
            return None
        bound = bound if bound.tzinfo else bound.replace(tzinfo=orders.ZoneInfo("UTC"))
        compare = COMPARE[comparison or "="]

        def dated(order: Record) -> bool:
            stamp = order["body"][field]
            return stamp is not None and compare(orders.datetime.fromisoformat(stamp), bound)

        return dated
    if field == "status":
        test = STATUSES.get(value.lower())
        return test and (lambda order: test(order["body"]))
    if field in ("tag", "tag_not"):
        wanted, has = value.casefold(), field == "tag"
        return lambda order: (wanted in (tag.casefold() for tag in orders.tag_list(order["body"]))) is has
    if field in EQUAL:
        read = EQUAL[field]
        return lambda order: str(read(order["body"])).casefold() == value.lstrip("#").casefold()
    return None


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    "=": lambda a, b: a == b,
}
