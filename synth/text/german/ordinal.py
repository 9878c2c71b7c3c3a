"""German ordinals, with the ending that the words beside them ask for."""

import re

from anytalk.synth.text import number

NEUTER = re.compile(
    r"(?:\w*(?:kind|jahr|jahrhundert|jahrzehnt|spiel|haus|geschoss|stockwerk|semester|quartal|kapitel|buch|bild|lied|mal"
    r"|rennen|viertel|drittel|finale|tor|zimmer|auto|stück|foto|team|treffen|gebot|gesetz|bier|glas|wort|tier|album|projekt"
    r"|programm|element|pferd|geschenk|ziel|auge|reich|video|baby|mädchen|ei)|\w+(?:chen|lein|ment))s?",
    re.IGNORECASE,
)
FEMININE = re.compile(
    r"(?:\w*(?:klasse|runde|etage|frau|tochter|woche|stunde|minute|sekunde|reihe|liga|auflage|ausgabe|seite|stufe|person"
    r"|staffel|folge|frage|nacht|hälfte|phase|schicht|ehe|million|milliarde|tonne|meile|katze|tasse|flasche|dose|packung"
    r"|zeile|aufgabe|stimme|mannschaft|welle|chance|hand|stadt|idee|sache|zeit|art|nummer|kurve|straße|etappe)"
    r"|(?!(?:name|käse|junge|ende|auge|gebäude|gemüse|interesse|kunde|kollege|gedanke|buchstabe|glaube)$)\w{2,}e"
    r"|\w+(?:ung|heit|keit|schaft|tion|tät|ik|erei|enz|anz|ur))",
    re.IGNORECASE,
)
"""Nouns and their endings; all others are taken for masculine."""

_OBLIQUE = (
    r"\b(?:[Aa]m|[Vv]om|[Zz]um|[Zz]ur|[Bb]eim|[Ii]m|[Ii]ns|[Dd]em|[Dd]en|[Dd]es|[Bb]is|[Aa]b|[Jj]ede[nm]|[Dd]iese[nm]|[Ss]eit|[Vv]or|[Nn]ach"
    r"|(?:[Ee]in|[Kk]ein|[Mm]ein|[Dd]ein|[Ss]ein|[Ii]hr|[Uu]nser|[Ee]ur)(?:em|en|es|er)"
    r"|(?:in|mit|von|nach|aus|bei|zu|seit|auf|an|vor|während|wegen|ab|trotz|innerhalb|Ende|Anfang|Mitte) der)"
)
_WEAK = (
    r"\b(?:[Dd]er|[Dd]ie|[Dd]as|[Jj]ede[rs]?|[Dd]iese[rs]?"
    r"|(?:[Ee]in|[Kk]ein|[Mm]ein|[Dd]ein|[Ss]ein|[Ii]hr|[Uu]nser|[Ee]ur)e)"
)
_MIXED = r"\b(?:[Ee]in|[Kk]ein|[Mm]ein|[Dd]ein|[Ss]ein|[Ii]hr|[Uu]nser|[Ee]uer|[Aa]ls)"
CALLED_FOR = re.compile(rf"(?:{_OBLIQUE}|{_WEAK}|{_MIXED}) $")
"""What a number with a full stop is an ordinal after."""
_OBLIQUE_BEFORE = re.compile(rf"{_OBLIQUE} $")
_WEAK_BEFORE = re.compile(rf"{_WEAK} $")


def ending(before: str, after: str) -> str:
    """Ending of an ordinal between what stands before it and the noun that stands after it."""
    if _OBLIQUE_BEFORE.search(before):
        return "n"
    if _WEAK_BEFORE.search(before):
        return ""
    noun = re.match(r"[\s-]*(\w+)", after)
    if noun and NEUTER.fullmatch(noun[1]):
        return "s"
    return "" if noun and FEMININE.fullmatch(noun[1]) else "r"


def ordinal(digits: str, end: str) -> str:
    """Say an ordinal: "dritte" and its ending."""
    return number.ordinal(digits, "de") + end


def one(noun: str) -> str:
    """Say 1 before a noun."""
    return "eine" if FEMININE.fullmatch(noun) else "ein"
