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
    """What a language model makes of each question when it is told to rewrite it; greedy, first line only.

    The quality is that of the model: read some before you trust the numbers. Where the model writes nothing, the
    question stays as it is.

    Args:
        model: name or path of an instruction-tuned model.
        instruction: what it is told; ``{}`` stands for the question.
        max_new_tokens: longest paraphrase.

    Raises:
        ValueError: if ``instruction`` has no place for the question.
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
        """Refuse conversations.

        Raises:
            ValueError: if a question is one.
        """
        check_plain(rows, "ModelParaphrases")

    def paraphrase(self, rows: Sequence[Row], subject: Subject) -> list[str]:
        """The model's paraphrases; each question is rewritten once, whichever model is attacked with it."""
        asked = [str(row["question"]) for row in rows]
        if new := [question for question in dict.fromkeys(asked) if question not in self._known]:
            self._known.update(zip(new, self._write(new, subject), strict=True))
        return [self._known[question] or question for question in asked]

    def _write(self, asked: Sequence[str], subject: Subject) -> list[str]:
        tokenizer = load_tokenizer(self.model)
        template, device = default_template(tokenizer), subject.trainer().strategy.root_device
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
