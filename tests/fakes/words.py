"""A list of words that are looked for as they are."""


class PlainWords:
    """Fulfils the ``Words`` port.

    Attributes:
        listed: The words; none is within another or overlaps one.
        looked_at: How many texts were.
    """

    def __init__(self, *listed: str) -> None:
        self.listed = listed
        self.looked_at = 0

    @property
    def active(self) -> bool:
        return self.listed != ()

    def mask(self, text: bytes) -> bytes:
        self.looked_at += 1
        masked = text
        for word in self.listed:
            masked = masked.replace(word.encode(), b"***")
        return text if masked == text else masked
