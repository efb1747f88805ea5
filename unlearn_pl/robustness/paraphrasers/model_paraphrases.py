"""Paraphrases by a language model."""

from collections.abc import Sequence

from lightning.fabric.utilities import move_data_to_device
from torch.utils.data import DataLoader

from unlearn_pl.data import Prompt, Row, collate_prompts, default_template
from unlearn_pl.models import CausalLM, generate, load_tokenizer
from unlearn_pl.robustness.paraphrasers.paraphraser import Paraphraser, check_plain
from unlearn_pl.robustness.target import Subject

INSTRUCTION = (
    "Rewrite the following question in other words. Keep its meaning and every name, date and title in it. "
    "Write the new question only.\n\n{}"
)


class ModelParaphrases(Paraphraser):
    """Rewrites each question with a language model; greedy decoding, first line only.

    The quality depends on the model: read some paraphrases before you trust the numbers. If the model writes nothing,
    the question stays unchanged.

    Args:
        model: name or path of an instruction-tuned model.
        instruction: prompt with ``{}`` in place of the question.
        max_new_tokens: length of the longest paraphrase, in tokens.

    Raises:
        ValueError: if ``instruction`` has no ``{}``.
    """

    def __init__(self, model: str, instruction: str = INSTRUCTION, max_new_tokens: int = 64) -> None:
        if "{}" not in instruction:
            raise ValueError(f"instruction={instruction!r} has no {{}}, which stands for the question.")
        self.model = model
        self.instruction = instruction
        self.max_new_tokens = max_new_tokens
        self._known: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        return f"by {self.model}"

    def check(self, rows: Sequence[Row]) -> None:
        """Check that all questions are plain text.

        Raises:
            ValueError: if one is a conversation.
        """
        check_plain(rows, "ModelParaphrases")

    def paraphrase(self, rows: Sequence[Row], subject: Subject) -> list[str]:
        """The model's paraphrases; each question is rewritten once and reused for every attacked model."""
        asked = [str(row["question"]) for row in rows]
        if new := [question for question in dict.fromkeys(asked) if question not in self._known]:
            self._known.update(zip(new, self._write(new, subject), strict=True))
        return [self._known[question] or question for question in asked]

    def _write(self, asked: Sequence[str], subject: Subject) -> list[str]:
        tokenizer = load_tokenizer(self.model)
        template, device = default_template(tokenizer), subject.device
        model = CausalLM(self.model).build().to(device)  # type: ignore[arg-type]
        prompts = [
            Prompt(template.prompt(tokenizer, self.instruction.replace("{}", question)), i, "")
            for i, question in enumerate(asked)
        ]
        loader: DataLoader[Prompt] = DataLoader(
            prompts,  # type: ignore[arg-type]
            batch_size=subject.data.eval_batch_size,
            collate_fn=lambda batch: collate_prompts(batch, tokenizer.pad_token_id),
        )
        texts: list[str] = []
        for batch in loader:
            texts += generate(model, move_data_to_device(batch, device), tokenizer, self.max_new_tokens, stop=("\n",))
        return texts
