from tests.grade_command import _refused, grade

__all__ = ["_refused", "grade"]
