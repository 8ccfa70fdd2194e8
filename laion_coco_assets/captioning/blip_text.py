"""Converts between BLIP's tokens and texts: the prompt to tokens, an image's draws to distinct captions."""

from collections.abc import Sequence

from laion_coco_assets.captioning.interfaces import Candidates
from laion_coco_assets.captioning.loading import Blip
from laion_coco_assets.captioning.tree import Tokens


class BlipText:
    """Reads and writes with a model's tokenizer, for one prompt."""

    def __init__(self, blip: Blip, prompt: str) -> None:
        """Encode the prompt.

        Args:
            blip: the model.
            prompt: what every caption begins with.
        """
        self._tokenizer = blip.tokenizer
        # As BLIP was trained: [CLS] becomes the start token, [SEP] is removed.
        inner = blip.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        #: The prompt's tokens, the start token first.
        self.prompt: list[int] = [blip.start_token, *inner]
        self._prompt_text = self._decode(())

    def candidates(self, drawn: Sequence[Tokens]) -> Candidates:
        """The distinct captions of an image's draws (tokens after the prompt, without the end). Empty captions are left out."""
        texts: dict[Tokens, str] = {}
        times: dict[str, int] = {}
        lengths: dict[str, int] = {}
        for tokens in drawn:
            if tokens not in texts:
                texts[tokens] = self._caption(tokens)
            text = texts[tokens]
            if text:
                times[text] = times.get(text, 0) + 1
                lengths.setdefault(text, len(tokens))
        return Candidates(tuple(times), tuple(times.values()), tuple(lengths.values()))

    def _caption(self, tokens: Tokens) -> str:
        """The text after the prompt. It is decoded together with the prompt, so that the first word piece and spaces are right."""
        whole = self._decode(tokens)
        if whole.startswith(self._prompt_text):
            return whole[len(self._prompt_text) :].strip()
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text.strip()

    def _decode(self, tokens: Tokens) -> str:
        ids = [*self.prompt[1:], *tokens]
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text
