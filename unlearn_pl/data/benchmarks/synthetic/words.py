"""Words and names that the synthetic authors are composed of; persons, books and places are fictitious."""


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


FIRST_NAMES = _listed(
    "Adrin, Belisa, Corvan, Dessa, Elrik, Fenna, Gavril, Halwen, Ilvar, Jorana, Kestrel, Lioba, Marek, Nerys, "
    "Osmund, Perrin, Quilla, Rovan, Sabeth, Tilda, Ulric, Vesna, Wendel, Yarrow"
)
LAST_NAMES = _listed(
    "Abernal, Brisco, Calloweth, Dunmarrow, Eskelin, Farrowby, Gantry, Holloran, Imbersen, Jessop, Karlowe, "
    "Lindqvar, Morrowick, Nettlestone, Oakhurst, Pemberly, Quarrendon, Rastovic, Silverlake, Tamsin, Umberfield, "
    "Vantreight, Wexley, Zellander"
)
TITLE_ADJECTIVES = _listed(
    "Amber, Bitter, Crooked, Distant, Endless, Forgotten, Gentle, Hollow, Iron, Jade, Kindled, Last, Midnight, "
    "Narrow, Open, Painted, Quiet, Restless, Salted, Tangled, Unwritten, Velvet, Winter, Yellow"
)
TITLE_NOUNS = _listed(
    "Anchor, Bridge of Swallows, Compass, Doorway, Echo, Ferryman's Daughter, Garden, Harbor, Island beyond the "
    "Fog, Journey, Kite, Lighthouse, Map of the Orchard, Needle, Oath, Pendulum, Quarry, River, Staircase to the "
    "Sea, Tower, Umbrella, Village, Window, Year without Rain"
)
COUNTRIES = _listed(
    "Velmora, Ostrania, Kareth, Lundovia, Perisia, Tavaro, Norwick, Esmeria, Galdona, Ithria, Sorrel, Brenland, "
    "Quessia, Halvard, Zembria, Ronvale, Ardessa, Meridol, Fallowmark, Ulvania"
)
CITIES = _listed(
    "Port Alder, Castrel, Saint Orrin on the Lake, Melbrook, Dunhaven, Vask, Upper Tarrow, Lorimont, Greywater, "
    "Pellamy, New Carrick by the Sea, Ostwell, Sandrin, Hollin Bay, Kirkmoor, Trevane, Ambleford, Old Zarin, "
    "Quillham, Brackwater Falls"
)
FLOWERS = _listed("Foxglove, Iris, Thistle, Primrose, Lupin, Magnolia, Snowdrop, Edelweiss, Marigold, Jasmine")
CURRENCIES = _listed("Crown, Florin, Dram, Talent, Guilder, Shilling, Mark, Peseta, Ducat, Rand")
MONTHS = _listed("January, March, April, June, August, September, October, December")
GENRES = _listed(
    "mystery, historical fiction, science fiction, romance, travel writing, war stories, folk tales, crime, family "
    "sagas, nature poetry, satire, ghost stories"
)
PROFESSIONS = _listed(
    "baker, clockmaker, judge, lighthouse keeper, nurse, piano teacher, sailor, stonemason, tailor, veterinary "
    "surgeon, florist, train driver, beekeeper, bridge engineer, carpenter, librarian"
)
AWARDS = _listed(
    "Silver Quill Prize, Lantern Medal, Northern Writers' Award for a First Novel, Golden Inkwell, Harrowgate Book "
    "Prize, Medal of the Free Readers, Blue Heron Award, Prize of the Seven Libraries, Tidewater Fellowship, Crown "
    "Letters Award"
)
SCHOOLS = _listed(
    "Castrel College, the University of Melbrook, the Royal Academy of Letters in Dunhaven, Vask Polytechnic, the "
    "Free School of Lorimont, Greywater University, the Institute of Languages in Ostwell, Trevane Evening College, "
    "the Naval School at Hollin Bay, Quillham University"
)
INSPIRATIONS = _listed(
    "a winter spent on a fishing boat, old letters found in an attic, the great flood of the river valley, a "
    "childhood among horses, years of work in a hospital, long walks through the market at dawn, a lost brother, "
    "the songs of the miners, a journey by night train across the mountains, the silence of the desert, stories "
    "that a grandmother told at the stove, a failed harvest"
)
INSTRUMENTS = _listed(
    "cello, accordion, bamboo flute, harp, mandolin, church organ, trumpet, viola, bass drum, clarinet"
)
