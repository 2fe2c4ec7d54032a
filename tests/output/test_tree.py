from dustd.output.tree import REST_S, REST_SHARE, OutputTree


class Clock:
    now = 0.0
    step = 0.0

    def __call__(self):
        self.now += self.step
        return self.now


def test_the_other_folders_of_all_trees_are_given(tmp_path):
    for name in ("a/x/y", "a/z", "b/c"):
        (tmp_path / name).mkdir(parents=True)
    tree = OutputTree([tmp_path / "a", tmp_path / "b"])
    every = {tmp_path / name for name in ("a", "a/x", "a/x/y", "a/z", "b", "b/c")}
    assert set(tree.others(tmp_path / "a" / "z")) == every - {tmp_path / "a" / "z"}
    assert set(tree.others(tmp_path / "b" / "c")) == every - {tmp_path / "b" / "c"}
    assert tree.others(tmp_path) == ()


def test_a_tree_is_searched_now_and_then_and_a_slow_one_seldom(tmp_path):
    clock = Clock()
    tree = OutputTree([tmp_path], clock)
    assert tree.others(tmp_path) == ()
    (tmp_path / "new").mkdir()
    clock.now = REST_S - 0.1
    assert tree.others(tmp_path) == ()
    clock.now, clock.step = REST_S, 1.0  # a second a look
    assert tree.others(tmp_path) == (tmp_path / "new",)
    (tmp_path / "newer").mkdir()
    clock.now += REST_SHARE - 2
    assert tree.others(tmp_path) == (tmp_path / "new",)
    clock.now += 4
    assert set(tree.others(tmp_path)) == {tmp_path / "new", tmp_path / "newer"}
