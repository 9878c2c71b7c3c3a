"""espeak-ng's names of languages as BCP-47 tags."""


def bcp47(language: str) -> str:
    """Write one of espeak-ng's language names as a BCP-47 tag.

    >>> bcp47("en-us"), bcp47("cmn-latn-pinyin"), bcp47("en-gb-x-rp"), bcp47("es-419")
    ('en-US', 'cmn-Latn-pinyin', 'en-GB-x-rp', 'es-419')
    """
    first, *rest = language.split("-")
    tag = [first.lower()]
    for position, part in enumerate(rest):
        private = "x" in rest[:position]
        if len(part) == 2 and not private:
            tag.append(part.upper())
        elif len(part) == 4 and not private:
            tag.append(part.title())
        else:
            tag.append(part)
    return "-".join(tag)
