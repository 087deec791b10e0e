"""Where the couriers deliver: a few cities, each with the code or the number that a courier knows it by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class City:
    """`code` is TCS's, `leopards` and `trax` are theirs. Those of Karachi, Lahore, Peshawar, Sialkot, Multan and
    Abbottabad are the vendors' own as far as their guides show them; the others only look like them.
    """

    name: str
    code: str
    leopards: int
    trax: int
    zone: str

    @property
    def key(self) -> str:
        return self.name.casefold()


PAKISTAN = (
    City("Karachi", "KHI", 592, 202, "South"),
    City("Lahore", "LHE", 789, 223, "Central"),
    City("Islamabad", "ISB", 475, 209, "North"),
    City("Rawalpindi", "RWP", 968, 271, "North"),
    City("Faisalabad", "FSD", 394, 191, "Central"),
    City("Multan", "MUX", 823, 251, "Central"),
    City("Peshawar", "PEW", 912, 264, "North"),
    City("Quetta", "UET", 944, 268, "South"),
    City("Hyderabad", "HDD", 452, 207, "South"),
    City("Sialkot", "SLT", 1043, 286, "Central"),
    City("Gujranwala", "GUJ", 431, 199, "Central"),
    City("Sukkur", "SKZ", 1075, 291, "South"),
    City("Bahawalpur", "BHV", 212, 127, "Central"),
    City("Sargodha", "SGD", 1002, 279, "Central"),
    City("Abbottabad", "ABT", 101, 101, "North"),
)

PAKISTAN_BY_NAME = {city.key: city for city in PAKISTAN}

# City: the beginnings of its postcodes. Indian couriers go by the postcode and believe any name.
INDIA = {
    "Mumbai": ("400",),
    "Delhi": ("110",),
    "Bengaluru": ("560",),
    "Pune": ("411", "412"),
    "Jaipur": ("302", "303"),
    "Lucknow": ("226",),
    "Hyderabad": ("500", "501"),
    "Chennai": ("600",),
    "Kolkata": ("700",),
    "Ahmedabad": ("380", "382"),
}


def city_of_postcode(postcode: str) -> str | None:
    return next((city for city, starts in INDIA.items() if postcode.startswith(starts)), None)
