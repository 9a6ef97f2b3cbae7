"""Pictures to look at: legends, charts and static HTML pages, which open from
disk with no server and no network. Knows neither models nor datasets; label
maps are drawn by ``mbos.painter``.
"""
