"""The instructor's report on a course: what waits for a person, what was hard, and the written answers side by side."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from graders.harness import lessons
from graders.harness.course.answers import Answer
from graders.harness.course.likeness import Likeness
from graders.harness.course.provenance import Untrained
from graders.harness.marks import Grade, Gradebook, Status, Student
from graders.harness.report import charts, pages, wording
from graders.harness.result import Outcome

LONG_ANSWER = 3000
"""Characters of an answer that are shown; two pages of print."""


@dataclass(frozen=True)
class Concern:
    """What a person should look at: a heading, what to do about it, and each matter with those whom it concerns.

    Those are named with the exercise.
    """

    heading: str
    advice: str
    matters: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def count(self) -> int:
        """How many hand-ins are concerned."""
        return len({who for _, everyone in self.matters for who in everyone})


@dataclass(frozen=True)
class Spread:
    """Scores: how many hand-ins, what share of the points that are decided each has, and the middle of the points."""

    bars: tuple[charts.Bar, ...]
    count: int
    median: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Loss:
    """A check, who ``of`` how many failed it or did not reach it, and the points which that cost them together."""

    title: str
    failed: tuple[str, ...]
    not_reached: tuple[str, ...]
    points: float
    of: int


@dataclass(frozen=True)
class Belief:
    """A misconception, what it means, and who has it in which exercises."""

    slug: str
    meaning: str
    names: tuple[str, ...]
    exercises: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Reach:
    """Of what the runs of an exercise took: the median, the most, and who took that."""

    median: float
    most: float
    who: str


@dataclass(frozen=True)
class Chapter:
    """An exercise in the report."""

    name: str
    title: str
    statuses: Mapping[Status, int]
    spread: Spread | None
    losses: tuple[Loss, ...]
    spared: tuple[str, ...]
    endings: tuple[tuple[str, tuple[str, ...]], ...]
    seconds: Reach | None
    memory: Reach | None


@dataclass(frozen=True)
class Question:
    """A question with the answers to it: those without points first, and who gave none."""

    exercise: str
    number: int
    asked: str
    guide: str
    of: float
    answers: tuple[tuple[str, Answer], ...]
    blank: tuple[str, ...]

    @property
    def marked(self) -> int:
        """How many answers have points."""
        return sum(answer.points is not None for _, answer in self.answers)


def course_page(
    gradebook: Gradebook,
    answers: Sequence[Answer] = (),
    alike: Sequence[Likeness] = (),
    untrained: Iterable[Untrained] = (),
) -> str:
    """The report as one HTML file. ``answers`` are those of hand-ins that are named by their students' ids."""
    names = _names(gradebook)
    course = _Course(gradebook, names)
    return pages.render(
        "course.html",
        records=gradebook.records,
        names=names,
        titles=gradebook.titles,
        statuses=Status,
        concerns=(*course.concerns(), *_provenance(untrained, names)),
        total=_spread([(record.score, _decided(record.grades.values())) for record in gradebook.records]),
        chapters=[course.chapter(name) for name in gradebook.exercises],
        beliefs=course.beliefs(),
        questions=_questions(answers, names),
        long_answer=LONG_ANSWER,
        alike=[
            (kind, list(group))
            for kind, group in groupby(sorted(alike, key=lambda like: like.kind), lambda like: like.kind)
        ],
        named=lambda student: names.get(student.id) or wording.name(student),
    )


def _provenance(untrained: Iterable[Untrained], names: Mapping[str, str]) -> tuple[Concern, ...]:
    """What to ask those whose adapters come from a training that was not seen, if there are any."""
    who: dict[str, list[str]] = defaultdict(list)
    for each in untrained:
        text = f"{each.passes} backward passes were seen, and a training has {each.steps} steps"
        who[text].append(f"{names.get(each.student.id) or wording.name(each.student)}, {each.exercise}")
    concern = Concern(
        "Training that was not seen",
        "These runs left adapters and did not train them in their own process. It costs no points: honest work trains with "
        "accelerate launch or notebook_launcher, too, where nothing is seen. Ask where the adapters come from.",
        tuple((text, tuple(names)) for text, names in who.items()),
    )
    return (concern,) if who else ()


def _names(gradebook: Gradebook) -> dict[str, str]:
    """What each student is called, by id; with the id where several are called the same."""
    shown = {record.student.id: wording.name(record.student) for record in gradebook.records}
    often = Counter(shown.values())
    return {id: name if often[name] == 1 else f"{name} ({wording.name(Student(id))})" for id, name in shown.items()}


def _decided(grades: Iterable[Grade]) -> float:
    """The points to be had that someone or something has decided on."""
    counting = [grade for grade in grades if grade.score is not None]
    return sum((grade.max_score if wording.unread(grade) else grade.of) - grade.undecided for grade in counting)


def _spread(scores: Iterable[tuple[float | None, float]]) -> Spread | None:
    """Of pairs of points, and how many could be had."""
    had = [(score, of) for score, of in scores if score is not None and of > 0]
    if not had:
        return None
    points = [score for score, _ in had]
    shares = [score / of for score, of in had]
    return Spread(
        charts.histogram(shares), len(had), statistics.median(points), statistics.mean(points), min(points), max(points)
    )


def _grouped(found: Iterable[tuple[str, str, Grade]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """One matter for everyone with the same text, the most frequent first."""
    who: dict[str, list[str]] = defaultdict(list)
    for text, name, grade in found:
        who[text].append(f"{name}, {grade.exercise}")
    return tuple((text, tuple(names)) for text, names in sorted(who.items(), key=lambda item: -len(item[1])))


class _Course:
    """The gradebook, asked what the report says."""

    def __init__(self, gradebook: Gradebook, names: Mapping[str, str]) -> None:
        self._gradebook, self._titles, self._names = gradebook, gradebook.titles, names
        self._graded = [
            (names[record.student.id], record.grades[name])
            for name in gradebook.exercises
            for record in gradebook.records
            if name in record.grades
        ]

    def _of(self, status: Status) -> list[tuple[str, Grade]]:
        return [(name, grade) for name, grade in self._graded if grade.status is status]

    def concerns(self) -> tuple[Concern, ...]:
        """What waits for a person, the most urgent first."""
        faults, waiting = (
            [
                (
                    f"{check.title} ({check.undecided:g} point{'' if check.undecided == 1 else 's'}): {check.found}",
                    name,
                    grade,
                )
                for name, grade in self._graded
                for check in (grade.result.checks if grade.result else ())
                if check.undecided and (check.outcome is Outcome.GRADER_FAULT) == broken
            ]
            for broken in (True, False)
        )
        noted = [(grade.note, name, grade) for name, grade in self._of(Status.GRADED) if grade.note]
        trouble, refused = (
            [
                (grade.note or "No reason was given.", name, grade)
                for name, grade in self._of(status)
                if not grade.missing
            ]
            for status in (Status.TROUBLE, Status.REFUSED)
        )
        every = (
            Concern(
                "Not graded: imports that are missing here",
                "They have no score, which is not 0. Either install the package for notebooks and run the same command again, or "
                "say that it is a file of the students' own, which they forgot to hand in: grade batch … --own-file NAME. Then "
                "they are graded as they are.",
                tuple(wording.missing(self._gradebook).items()),
            ),
            Concern(
                "Undecided, because the grader failed",
                "These points are neither given nor lost. What happened is in grader-faults.log, beside the run. Once the "
                "grader is mended, run grade rescore: it decides them.",
                _grouped(faults),
            ),
            Concern(
                "Undecided, waiting for you",
                "These points are neither given nor lost. The check measured, and a person has to say what that is worth.",
                _grouped(waiting),
            ),
            Concern(
                "Not graded, for reasons of the machine",
                "They have no score, which is not 0. Mend the reason and grade them again.",
                _grouped(trouble),
            ),
            Concern("Graded, with a remark", "Look whether the right thing was graded.", _grouped(noted)),
            Concern(
                "Refused",
                "Nothing in these hand-ins can be graded, and they have no points. Their students are told why.",
                _grouped(refused),
            ),
        )
        return tuple(concern for concern in every if concern.matters)

    def chapter(self, exercise: str) -> Chapter:
        """Everything about one exercise."""
        mine = [(name, grade) for name, grade in self._graded if grade.exercise == exercise]
        graded = [(name, grade) for name, grade in mine if grade.status is Status.GRADED and grade.result]
        losses = self._losses(graded)
        ended = defaultdict(list)
        for name, grade in graded:
            if grade.result and grade.result.run["ended"] != "completed":
                ended[wording.ENDINGS[grade.result.run["ended"]][0]].append(name)
        return Chapter(
            exercise,
            self._titles[exercise],
            Counter(grade.status for _, grade in mine),
            _spread([(grade.score, _decided([grade])) for _, grade in graded]),
            tuple(loss for loss in losses if loss.points),
            tuple(loss.title for loss in losses if not loss.points),
            tuple((how, tuple(names)) for how, names in sorted(ended.items(), key=lambda item: -len(item[1]))),
            _reach([(name, grade.result.run["seconds"]) for name, grade in graded if grade.result]),
            _reach([(name, grade.result.run["peak_memory_bytes"]) for name, grade in graded if grade.result]),
        )

    @staticmethod
    def _losses(graded: Sequence[tuple[str, Grade]]) -> list[Loss]:
        """What each check with points cost, the most expensive first."""
        seen: dict[str, dict[Outcome, list[str]]] = {}
        titles: dict[str, str] = {}
        cost: dict[str, float] = defaultdict(float)
        for name, grade in graded:
            for check in grade.result.checks if grade.result else ():
                if check.max_score:
                    titles.setdefault(check.id, check.title)
                    seen.setdefault(check.id, defaultdict(list))[check.outcome].append(name)
                    cost[check.id] += check.max_score - check.score
        losses = []
        for id, outcomes in seen.items():
            failed, lost = outcomes[Outcome.FAILED], outcomes[Outcome.NOT_REACHED]
            count = sum(map(len, outcomes.values()))
            losses.append(Loss(titles[id], tuple(failed), tuple(lost), round(cost[id], 2), count))
        return sorted(losses, key=lambda loss: -loss.points)

    def beliefs(self) -> tuple[Belief, ...]:
        """Every misconception that was recognised, the most frequent first."""
        who: dict[str, dict[str, None]] = defaultdict(dict)
        where: dict[str, dict[str, None]] = defaultdict(dict)
        for name, grade in self._graded:
            for check in grade.result.checks if grade.result else ():
                if check.misconception:
                    who[check.misconception][name] = None
                    where[check.misconception][grade.exercise] = None
        count = max(1, len(self._names))
        return tuple(
            Belief(
                slug, lessons.meant().misconceptions.get(slug, ""), tuple(names), tuple(where[slug]), len(names) / count
            )
            for slug, names in sorted(who.items(), key=lambda item: (-len(item[1]), item[0]))
        )


def _reach(amounts: Sequence[tuple[str, float]]) -> Reach | None:
    if not amounts:
        return None
    who, most = max(amounts, key=lambda amount: amount[1])
    return Reach(statistics.median(amount for _, amount in amounts), most, who)


def _questions(answers: Sequence[Answer], names: Mapping[str, str]) -> list[Question]:
    """The questions in their order."""
    asked: dict[tuple[str, int], list[Answer]] = defaultdict(list)
    for answer in answers:
        asked[answer.exercise, answer.question].append(answer)
    # As in the gradebook; what is of nobody in it comes last.
    order = {id: place for place, id in enumerate(names)}
    questions = []
    for (exercise, number), given in sorted(asked.items()):
        given.sort(key=lambda a: (a.points is not None, order.get(a.hand_in, len(order)), a.hand_in))
        named = [(names.get(a.hand_in) or wording.name(Student(a.hand_in)), a) for a in given]
        first = given[0]
        questions.append(
            Question(
                exercise, number, first.asked, first.guide, first.of,
                tuple((name, answer) for name, answer in named if answer.answer),
                tuple(name for name, answer in named if not answer.answer),
            )
        )  # fmt: skip
    return questions
