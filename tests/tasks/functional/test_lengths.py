import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskdistill.configs.training import TrainingSettings
from taskdistill.tasks.functional.lengths import is_validated, num_steps

numbers = st.integers(1, 60)


def validated(training: TrainingSettings, num_images: int) -> list[int]:
    """The steps of a whole training after which it is validated; after the last one it is anyway."""
    length = num_steps(training, num_images)
    return [step for step in range(1, length + 1) if step == length or is_validated(step, training, num_images)]


@pytest.mark.parametrize(("epochs", "num_images", "length"), [(20, 360, 225), (3, 24, 8), (1, 1, 1), (120, 200, 480)])
def test_a_training_is_as_long_as_its_epochs(epochs: int, num_images: int, length: int) -> None:
    batch_size = {225: 32, 8: 10, 1: 64, 480: 50}[length]
    assert num_steps(TrainingSettings(epochs=epochs, batch_size=batch_size), num_images) == length


@pytest.mark.parametrize(("min_steps", "length"), [(0, 7), (7, 7), (8, 8), (500, 500)])
def test_where_its_epochs_are_fewer_steps_than_asked_for_it_goes_on(min_steps: int, length: int) -> None:
    # 2 classes of 5 images: 20 epochs of 10 images are 200, in batches of 32.
    assert num_steps(TrainingSettings(epochs=20, batch_size=32, min_steps=min_steps), 10) == length


def test_one_image_can_be_trained_on_for_as_many_steps_as_asked_for() -> None:
    training = TrainingSettings(epochs=1, batch_size=32, min_steps=40)
    assert num_steps(training, 1) == 40
    assert validated(training, 1) == [40]


@given(numbers, numbers, numbers, st.integers(1, 9))
def test_a_minimum_that_does_not_lengthen_a_training_leaves_its_validations_at_the_ends_of_epochs(
    epochs: int, batch_size: int, num_images: int, every: int
) -> None:
    training = TrainingSettings(epochs=epochs, batch_size=batch_size, validate_every=every)
    stretch, length = every * num_images, num_steps(training, num_images)
    ends = {-(-number * stretch // batch_size) for number in range(1, epochs * num_images // stretch + 1)}
    # The last step is a full batch too, and may reach into the next stretch.
    assert validated(training, num_images) == sorted({end for end in ends if end <= length} | {length})
    same = training.model_copy(update={"min_steps": num_steps(training, num_images)})
    assert validated(same, num_images) == validated(training, num_images)


@pytest.mark.parametrize(("every", "steps"), [(1, [25, 50, 75, 100]), (2, [50, 100]), (3, [75, 100]), (9, [100])])
def test_a_longer_training_is_validated_as_often_further_apart(every: int, steps: list[int]) -> None:
    training = TrainingSettings(epochs=4, batch_size=10, validate_every=every, min_steps=100)
    assert validated(training, 10) == steps


@given(st.integers(1, 12), numbers, numbers, st.integers(1, 9), st.integers(0, 400))
def test_there_are_as_many_validations_however_much_longer_a_training_is(
    epochs: int, batch_size: int, num_images: int, every: int, more: int
) -> None:
    training = TrainingSettings(epochs=epochs, batch_size=batch_size, validate_every=every)
    length = max(num_steps(training, num_images), epochs) + 1 + more
    longer = training.model_copy(update={"min_steps": length})
    steps = validated(longer, num_images)
    assert len(steps) == -(-epochs // every)
    gaps = {later - earlier for earlier, later in zip([0, *steps[:-1]], steps[:-1], strict=False)}
    assert max(gaps, default=0) - min(gaps, default=0) <= 1
