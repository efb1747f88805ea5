"""Textual inversion: a word that is none, whose vector makes a model show again what it has forgotten."""

from collections.abc import Mapping
from random import Random
from typing import Any, ClassVar

import torch
from lightning.fabric.utilities import move_data_to_device

from unlearn_pl.data import CanvasDataModule, example_seeds
from unlearn_pl.data.canvas.canvas import Canvas, described
from unlearn_pl.data.canvas.dataset import PromptsToSample
from unlearn_pl.functional.diffusion import denoising_error
from unlearn_pl.models.diffusion.model import DiffusionModel
from unlearn_pl.models.diffusion.pseudo_words import PseudoEmbedding, TakesPseudoWords
from unlearn_pl.robustness.attacked import FORGET, Attacked
from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.image_target import ImageSubject


class TextualInversion(Attack):
    """What images show if their prompts name what is forgotten by pseudo words, optimized on images of it.

    The words stand where the style is named, or the object if an object is forgotten; Adam lowers the denoising error
    of the images that the attacker has, and the weights stay as they are. Metrics are those of
    :class:`~unlearn_pl.robustness.ImageSubject`, on the same prompts with the pseudo words in them. Vectors can also
    teach what a model has never seen: compare with the retain model under the same attack.

    Args:
        images: data module with the images that the attacker has, of the same styles and objects; best such that the
            model was not trained on, neither before nor while it forgot. By default those of the audited data.
        count: number of images, drawn from those of what is forgotten.
        vectors: number of words, each with a vector.
        steps: steps of Adam.
        learning_rate: its learning rate, in standard deviations of the entries of the model's embedding.
        batch_size: images per step, drawn at random.

    Raises:
        ValueError: if a number is not positive; from ``check``, if the images are of other styles or objects, or the
            prompts do not name what is forgotten.

    References:
        Pham et al., Circumventing Concept Erasure Methods for Text-to-Image Generative Models, ICLR 2024,
        arXiv 2308.01508; Gal et al., An Image is Worth One Word, ICLR 2023, arXiv 2208.01618.
    """

    subjects: ClassVar[type[Attacked]] = ImageSubject

    def __init__(
        self,
        images: CanvasDataModule | None = None,
        count: int = 20,
        vectors: int = 1,
        steps: int = 200,
        learning_rate: float = 0.1,
        batch_size: int = 8,
    ) -> None:
        if min(count, vectors, steps, batch_size) < 1 or not learning_rate > 0:
            raise ValueError(
                f"count={count}, vectors={vectors}, steps={steps}, learning_rate={learning_rate}, "
                f"batch_size={batch_size}; accepted are positive numbers."
            )
        self.images = images
        self.count = count
        self.vectors = vectors
        self.steps = steps
        self.learning_rate = learning_rate
        self.batch_size = batch_size

    @property
    def name(self) -> str:
        """The attack, its images and the number of vectors."""
        return f"TextualInversion ({self.count} images, {self.vectors} vectors)"

    def cost(self, subject: Attacked) -> float:
        """See :meth:`Attack.cost`: the forget prompts once more, and three forwards per image of a step."""
        assert isinstance(subject, ImageSubject)
        rows = {split: len(prompts) for split, prompts in subject.splits.items()}
        forwards = 2 * subject.spec.sampler.steps * sum(rows.values())
        return rows[FORGET] / sum(rows.values()) + 3 * self.steps * self.batch_size / forwards

    def check(self, subject: Attacked) -> None:
        """Check that the images fit the prompts, and the prompts name what is forgotten."""
        assert isinstance(subject, ImageSubject)
        named = "object" if self._is_object(subject) else "style"
        if f"{{{named}}}" not in subject.data.prompt:
            raise ValueError(
                f"prompt is {subject.data.prompt!r}, without the {named} that {self.name} would name by other words; "
                f"accepted: a text with {{{named}}}."
            )
        found, wanted = self._canvas(subject), subject.data.canvas
        if (list(found.styles), list(found.objects)) != (list(wanted.styles), list(wanted.objects)):
            raise ValueError(
                f"images has the styles {list(found.styles)[:9]} and the objects {list(found.objects)[:9]}; accepted: "
                f"those of the audited data, {list(wanted.styles)[:9]} and {list(wanted.objects)[:9]}."
            )
        if not len(self._known(subject)):
            raise ValueError("images has none of what is forgotten; accepted: a data module with at least one.")

    def run(self, subject: Attacked) -> Findings:
        """Optimize the words, and make images of prompts with them."""
        assert isinstance(subject, ImageSubject)
        model = subject.build().to(subject.device).eval().requires_grad_(False)
        encoder = model.text_encoder
        if not isinstance(encoder, TakesPseudoWords):
            raise ValueError(
                f"{type(encoder).__name__} takes no pseudo words; accepted: an encoder with a method add_words, "
                "such as those of TinyUNet and UNet."
            )
        embedding = encoder.add_words(self._words, subject.seed)
        loss = self._optimize(model, embedding, subject)
        found = Findings.scored(subject.score(model, {FORGET: self._renamed(subject)}))
        return Findings({**found.after, "loss": loss}, rows=found.rows)

    @property
    def _words(self) -> list[str]:
        return [f"pseudo{i}" for i in range(self.vectors)]

    @staticmethod
    def _is_object(subject: ImageSubject) -> bool:
        return subject.data.forget is not None and subject.data.forget.kind == "object"

    def _canvas(self, subject: ImageSubject) -> Canvas:
        return (self.images or subject.data).canvas

    def _prompt(self, subject: ImageSubject, style: int, thing: int) -> str:
        """The prompt of a pair, with pseudo words for what is forgotten."""
        canvas, words = subject.data.canvas, " ".join(self._words)
        if self._is_object(subject):
            return described(subject.data.prompt, canvas.styles[style], words)
        return described(subject.data.prompt, words, canvas.objects[thing])

    def _renamed(self, subject: ImageSubject) -> PromptsToSample:
        rows = subject.splits[FORGET]
        pairs = zip(rows.numbers["style"].tolist(), rows.numbers["object"].tolist(), strict=True)
        return PromptsToSample([self._prompt(subject, *pair) for pair in pairs], rows.seeds, rows.numbers)

    def _known(self, subject: ImageSubject) -> list[int]:
        """Numbers of the attacker's images."""
        labels = self._canvas(subject).images.labels
        rows = subject.data.forgotten.flatten()[labels].nonzero().flatten().tolist()
        return sorted(Random(f"inversion/{subject.seed}").sample(rows, min(self.count, len(rows))))

    def _optimize(self, model: DiffusionModel, embedding: PseudoEmbedding, subject: ImageSubject) -> float:
        """Lower the denoising error; returns its mean over the last tenth of the steps."""
        embedding.change.requires_grad_()
        optimizer = torch.optim.Adam([embedding.change], lr=self.learning_rate)
        generator, known = torch.Generator().manual_seed(subject.seed), self._known(subject)
        losses = []
        for step in range(self.steps):
            drawn = torch.randperm(len(known), generator=generator)[: self.batch_size].tolist()
            batch = self._batch(subject, [known[i] for i in drawn], step)
            with torch.enable_grad(), subject.forward_context():
                view = subject.spec.forward(model, batch, frozenset())
                loss = denoising_error(view.prediction, view.target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        embedding.change.requires_grad_(False)
        last = losses[-max(1, self.steps // 10) :]
        return sum(last) / len(last)

    def _batch(self, subject: ImageSubject, rows: list[int], step: int) -> Mapping[str, Any]:
        """Images with prompts; timesteps and noise are functions of the seed, the step and the image."""
        canvas = self._canvas(subject)
        pairs = [divmod(int(canvas.images.labels[row]), len(canvas.objects)) for row in rows]
        batch = {
            "image": torch.stack([canvas.images.image(row) for row in rows]),
            "prompt": [self._prompt(subject, *pair) for pair in pairs],
            "index": torch.tensor(rows),
            "seeds": torch.tensor(example_seeds(subject.seed, "inversion", step, rows)),
        }
        return move_data_to_device(batch, subject.device)
