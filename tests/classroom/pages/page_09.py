"""Mistakes that are often made in notebook 09."""

HEAD = (
    "from concurrent.futures import Executor, Future\n\n\n"
    "class Here(Executor):\n"
    "    submitted = 0\n\n"
    "    def submit(self, function, /, *arguments, **options):\n"
)

MISTAKES = {
    "09.1": [
        "kilobytes = 500 * 375 * 3 / 1000",
        "kilobytes = 224 * 224 * 3 * 4 / 1000",
        "kilobytes = 224 * 224 * 3",
    ],
    "09.2": [
        HEAD + "        return function(*arguments, **options)",
        HEAD + "        self.submitted += 1\n        return Future()",
        HEAD
        + "        future = Future()\n"
        + "        future.set_result(function(*arguments, **options))\n"
        + "        return future",
        HEAD
        + "        self.submitted += 1\n"
        + "        future = Future()\n"
        + "        future.set_result(function(*arguments, **options))\n"
        + "        return future",
    ],
}
