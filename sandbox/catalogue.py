"""What both demo stores sell, who may buy it, and a basket: an order as the control API and the shop page state it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sandbox.errors import Refusal
from sandbox.phones import country_of, normalised

SHIPPING = Decimal("250.00")
CURRENCY = "PKR"
CURRENCIES = (CURRENCY, "INR")


@dataclass(frozen=True)
class Product:
    sku: str
    title: str
    price: Decimal
    variant: str | None = None  # the size, for products that come in sizes
    product_number: int = 0  # small numbers the stores derive their own ids from
    variant_number: int = 0
    stock_managed: bool = True

    @property
    def name(self) -> str:
        return f"{self.title} - {self.variant}" if self.variant else self.title


PRODUCTS = {
    product.sku: product
    for product in (
        Product("KHS-01", "Khussa Leather Shoes", Decimal("3499.00"), product_number=11),
        Product("LWN-3P", "Lawn 3-Piece", Decimal("5950.00"), product_number=12),
        Product("DUP-01", "Chiffon Dupatta", Decimal("1450.00"), product_number=13),
        Product("KRT-M", "Kurta", Decimal("2200.00"), "M", 14, 15, stock_managed=False),
        Product("KRT-L", "Kurta", Decimal("2200.00"), "L", 14, 16, stock_managed=False),
    )
}

# payment name of the control API: what it means, for the error sentence and the shop page
PAYMENTS = {
    "cod": "cash on delivery",
    "jazzcash": "JazzCash wallet, awaiting payment",
    "easypaisa": "Easypaisa wallet, awaiting payment",
    "bank": "bank transfer, awaiting payment",
    "safepay": "Safepay, awaiting payment",
    "razorpay": "Razorpay, awaiting payment",
    "cashfree": "Cashfree, awaiting payment",
    "prepaid": "card, paid online",
}


@dataclass(frozen=True)
class City:
    name: str
    province: str
    province_code: str
    zip: str
    country: str
    street: str


COUNTRY_NAMES = {
    "PK": "Pakistan",
    "IN": "India",
    "MX": "Mexico",
    "BR": "Brazil",
    "CO": "Colombia",
    "AR": "Argentina",
    "AE": "United Arab Emirates",
    "SA": "Saudi Arabia",
    "GB": "United Kingdom",
    "DE": "Germany",
    "ES": "Spain",
    "PT": "Portugal",
    "US": "United States",
}

CITIES = {
    city.name.casefold(): city
    for city in (
        City("Lahore", "Punjab", "PB", "54000", "PK", "12 Mall Road"),
        City("Karachi", "Sindh", "SD", "74400", "PK", "7 Tariq Road"),
        City("Islamabad", "Islamabad", "IS", "44000", "PK", "House 9, Street 21, F-7/2"),
        City("Rawalpindi", "Punjab", "PB", "46000", "PK", "44 Murree Road"),
        City("Faisalabad", "Punjab", "PB", "38000", "PK", "3 Kohinoor City"),
        City("Multan", "Punjab", "PB", "60000", "PK", "18 Bosan Road"),
        City("Peshawar", "Khyber Pakhtunkhwa", "KP", "25000", "PK", "5 University Road"),
        City("Quetta", "Balochistan", "BA", "87300", "PK", "2 Jinnah Road"),
        City("Mumbai", "Maharashtra", "MH", "400050", "IN", "22 Hill Road, Bandra West"),
        City("Delhi", "Delhi", "DL", "110024", "IN", "B-14 Lajpat Nagar"),
        City("Ciudad de México", "Ciudad de México", "DF", "06700", "MX", "Calle Orizaba 101"),
        City("São Paulo", "São Paulo", "SP", "01310-100", "BR", "Avenida Paulista 1000"),
        City("Bogotá", "Bogotá, D.C.", "DC", "110221", "CO", "Carrera 11 # 93-50"),
        City("Dubai", "Dubai", "DU", "00000", "AE", "Al Wasl Road 77"),
    )
}


@dataclass(frozen=True)
class Customer:
    name: str
    phone: str  # as the customer typed it; "" where the shop does not ask
    city: str
    locale: str
    email: str = ""

    @property
    def first_name(self) -> str:
        return self.name.partition(" ")[0]

    @property
    def last_name(self) -> str:
        return self.name.partition(" ")[2]

    @property
    def e164(self) -> str | None:
        return normalised(self.phone)

    @property
    def place(self) -> City:
        known = CITIES.get(self.city.casefold())
        if known is not None:
            return known
        country = country_of(self.e164) if self.e164 else "PK"
        return City(self.city, "", "", "", country, "1 Main Street")


# The cast of the shop page. Made-up people, one per language Dastak starts with.
CAST = (
    Customer("Ayesha Khan", "0300 1234567", "Lahore", "en-PK", "ayesha@example.test"),
    Customer("Bilal Ahmed", "+92 321 1234567", "Karachi", "ur", "bilal@example.test"),
    Customer("Rohan Mehta", "+91 98200 12345", "Mumbai", "hi", "rohan@example.test"),
    Customer("Lucía Hernández", "+52 55 1234 5678", "Ciudad de México", "es", "lucia@example.test"),
    Customer("João Silva", "+55 11 91234 5678", "São Paulo", "pt-BR", "joao@example.test"),
)


@dataclass(frozen=True)
class Item:
    product: Product
    quantity: int

    @property
    def total(self) -> Decimal:
        return self.product.price * self.quantity


@dataclass(frozen=True)
class Basket:
    customer: Customer
    items: tuple[Item, ...]
    payment: str
    note: str = ""
    opt_in: bool | None = None  # the WhatsApp box at the checkout: ticked, left empty, or not offered
    currency: str = CURRENCY  # WooCommerce's only: plugins let customers choose; the prices stay as they are

    @property
    def subtotal(self) -> Decimal:
        return sum((item.total for item in self.items), Decimal(0))

    @property
    def total(self) -> Decimal:
        return self.subtotal + SHIPPING

    @classmethod
    def from_json(cls, stated: dict[str, Any]) -> Basket:
        payment = stated.get("payment", "cod")
        if not isinstance(payment, str) or payment not in PAYMENTS:
            raise Refusal(f"There is no payment {payment!r}. Payments: {', '.join(PAYMENTS)}.")
        note = _text(stated, "note", "", 2000)
        opt_in = stated.get("opt_in")
        if opt_in is not None and not isinstance(opt_in, bool):
            raise Refusal("opt_in is true, false, or left out.")
        currency = stated.get("currency", CURRENCY)
        if currency not in CURRENCIES:
            raise Refusal(f"There is no currency {currency!r}. Currencies: {', '.join(CURRENCIES)}.")
        return cls(_customer(stated.get("customer")), _items(stated.get("items")), payment, note, opt_in, currency)


def _customer(stated: Any) -> Customer:
    usual = CAST[0]
    if stated is None:
        return usual
    if not isinstance(stated, dict):
        raise Refusal('customer looks like {"name", "phone", "city", "locale"}.')
    name = _text(stated, "name", usual.name, 120) or usual.name
    first = name.partition(" ")[0].casefold()
    phone = _text(stated, "phone", usual.phone, 60)
    email = f"{first}@example.test" if first.isascii() and first.isalnum() else "customer@example.test"
    return Customer(
        name=name,
        phone=phone,
        city=_text(stated, "city", "", 80) or _city_for(phone),
        locale=_text(stated, "locale", usual.locale, 20) or usual.locale,
        email=_text(stated, "email", email, 120),
    )


def _city_for(phone: str) -> str:
    """Where a customer lives who only stated a phone number."""
    number = normalised(phone)
    country = country_of(number) if number else "PK"
    return next((city.name for city in CITIES.values() if city.country == country), CAST[0].city)


def _items(stated: Any) -> tuple[Item, ...]:
    if stated is None or stated == []:
        return (Item(PRODUCTS["KHS-01"], 1),)
    if not isinstance(stated, list) or len(stated) > 50:
        raise Refusal('items looks like [{"sku", "quantity"}], at most 50 of them.')
    items = []
    for line in stated:
        sku = line.get("sku") if isinstance(line, dict) else None
        quantity = line.get("quantity", 1) if isinstance(line, dict) else None
        if not isinstance(sku, str) or sku not in PRODUCTS:
            raise Refusal(f"There is no sku {sku!r}. The stores sell: {', '.join(PRODUCTS)}.")
        if isinstance(quantity, bool) or not isinstance(quantity, int) or not 1 <= quantity <= 1000:
            raise Refusal("quantity is a whole number from 1 to 1000.")
        items.append(Item(PRODUCTS[sku], quantity))
    return tuple(items)


def _text(stated: dict[str, Any], name: str, usual: str, longest: int) -> str:
    value = stated.get(name, usual)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest:
        raise Refusal(f"{name} is a text of at most {longest} characters.")
    return value.strip()
