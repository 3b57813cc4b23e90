"""Content words: the nouns and adjectives that two texts may share."""

import re

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")

_LISTED = """
    a about above across after again against ago ahead all almost alone along already also although always am
    among an and another any anybody anyone anything anywhere apart appear appears are aren't around as ask asked
    at away be because become becomes been before behind being below beneath beside besides between beyond both
    but by came can can't cannot carries carry carrying come comes coming contain contains could couldn't covered
    covers cutting did didn't do does doesn't doing don't done down drinking drive driving during each eat eating
    eats eight either else enough even ever every everybody everyone everything everywhere except falling few five
    flying for four from fully further gave get gets getting give given gives giving go goes going gone got grab
    grabbing had hadn't hang hanging happen happened happening happens has hasn't have haven't having he he's held
    her here here's hers herself him himself his hold holding holds how however i if in inside instead into is
    isn't it it's its itself jumping just keep keeps kept know known laid lay laying leaning least leave leaving
    less let let's lie lies like liked likes look looked looking looks lot lots lying made make makes making many
    may maybe me mean means might mine more most mostly move moved moves moving much must my myself near nearest
    nearly need needs neither never next nine no nobody none nor not nothing now nowhere of off often on once one
    one's ones only onto or other others our ours ourselves out outside over own perhaps pick played playing
    please pointing pull pulling push pushing put puts putting quite rather reach reaching really riding run
    running runs said same sat saw say saying says see seeing seem seems seen sees serve serving seven shall she
    she's should shouldn't show showing shown shows since sit sits sitting six sleep sleeping slightly smile
    smiling so some somebody someone something sometimes somewhere soon standing stands stay still stopped such
    take taken takes taking talk talking tell tells ten than that that's the their theirs them themselves then
    there there's these they they're think this those though three through throughout throw throwing thus till to
    together too took touch touching toward towards tried try trying turn turned turning two under until up upon
    us use used uses using very wait waiting walk walked walking walks want wants was wasn't watching way we we're
    wear wearing wears well went were weren't what what's whatever when whenever where where's wherever whether
    which whichever while who who's whoever whole whom whose why will with within without won't wore working would
    wouldn't yes yet you you're your yours yourself
"""
"""Words that are neither noun nor adjective where people ask about pictures: determiners, pronouns, prepositions,
conjunctions, adverbs, numerals, auxiliaries and the commonest forms of verbs that are no nouns as well."""

_FUNCTION_WORDS = frozenset(_LISTED.split())

_PLURALS = (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("s", ""))
_NOT_PLURAL = ("ss", "us", "is")
_IRREGULAR = {
    "children": "child",
    "feet": "foot",
    "geese": "goose",
    "knives": "knife",
    "leaves": "leaf",
    "men": "man",
    "mice": "mouse",
    "people": "person",
    "shelves": "shelf",
    "teeth": "tooth",
    "women": "woman",
}
_SHORTEST_PLURAL = 4
"""Letters; "gas" and "bus" stay as they are."""


def content_words(text: str) -> frozenset[str]:
    """Give a text's nouns and adjectives in lower case and the singular, as well as can be told without a tagger.

    Differs: the paper takes the words that a part-of-speech tagger calls noun or adjective; here it is all words but
        those of a fixed list, so that rare verbs count too. Give another function to `consistency.pairs` for a tagger.
    """
    words = (found[0].removesuffix("'s") for found in _WORD.finditer(text.lower().replace("’", "'")))
    return frozenset(_singular(word) for word in words if word not in _FUNCTION_WORDS)


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < _SHORTEST_PLURAL or word.endswith(_NOT_PLURAL):
        return word
    return next((word.removesuffix(end) + single for end, single in _PLURALS if word.endswith(end)), word)
