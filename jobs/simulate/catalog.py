"""What the shop sells: groups of categories, products in them and their prices."""

from dataclasses import dataclass

import numpy as np

from jobs.simulate.clock import Array, stream

CATALOG_STREAM = 1
FIRST_PRODUCT_ID = 5_000_000
GROUPS = 12
LEAVES = 420
PRODUCTS = 2_400
POPULARITY = 2.5  # a group's product is drawn at size * u ** POPULARITY: few products sell most
NO_CATEGORY = 0  # the text "[]"
NONE_CATEGORY = 1  # the text "[None]"


@dataclass(frozen=True)
class Catalog:
    """Products sorted by group; ``category_texts`` begins with "[]" and "[None]"."""

    category_texts: tuple[str, ...]
    category: Array  # of each product, an index into category_texts
    price: Array  # of each product, before the client's level and discounts
    group_start: Array  # products of group g are group_start[g] to group_start[g + 1]
    group_share: Array  # of all sales
    group_price: Array  # the mean price of one sale in the group


def catalog(seed: int) -> Catalog:
    """Return the shop's products, the same for a seed at every size and on every day."""
    rng = stream(seed, CATALOG_STREAM)
    share = rng.dirichlet(np.full(GROUPS, 1.5))
    leaf_group = np.sort(rng.integers(0, GROUPS, LEAVES))
    leaf_group[:GROUPS] = np.arange(GROUPS)  # no group is left without a category
    leaf_group = np.sort(leaf_group)
    texts = ["[]", "[None]"]
    for number, parent in enumerate(leaf_group):
        path = ["4", str(20 + parent), str(50 + number // 6), str(150 + number)]
        if number % 17 == 5:
            path.append(path[1])  # real lists name a category twice now and then
        texts.append("[" + ", ".join(f"'{step}'" for step in path) + "]")
    leaf = np.concatenate([np.arange(LEAVES), rng.integers(0, LEAVES, PRODUCTS - LEAVES)])
    group = leaf_group[leaf]
    # shuffled inside its group, so that any category can hold the product that sells most
    order = np.lexsort((rng.random(PRODUCTS), group))
    leaf, group = leaf[order], group[order]
    leaf_price = np.exp(rng.normal(3.2, 0.5, LEAVES))
    price = leaf_price[leaf] * np.exp(rng.normal(0, 0.25, PRODUCTS))
    start = np.searchsorted(group, np.arange(GROUPS + 1))
    mean = np.empty(GROUPS)
    for number in range(GROUPS):
        size = start[number + 1] - start[number]
        chance = np.diff((np.arange(size + 1) / size) ** (1 / POPULARITY))
        mean[number] = chance @ price[start[number] : start[number + 1]]
    return Catalog(tuple(texts), leaf + 2, price, start, share, mean)


def draw_products(catalog: Catalog, rng: np.random.Generator, group: Array) -> Array:
    """Return one product index per wanted ``group``."""
    size = catalog.group_start[group + 1] - catalog.group_start[group]
    place = (size * rng.random(len(group)) ** POPULARITY).astype(np.int64)
    return np.asarray(catalog.group_start[group] + place)
