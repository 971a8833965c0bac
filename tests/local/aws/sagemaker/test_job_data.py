"""Archives of a job's output."""

from local.aws.sagemaker import job_data


def test_archive_depends_on_content_only(tmp_path):
    results = []
    for name in ("a", "b"):
        folder = tmp_path / name
        (folder / "deep").mkdir(parents=True)
        for file in ("z.txt", "deep/y.txt") if name == "a" else ("deep/y.txt", "z.txt"):
            (folder / file).write_text(file)
        (folder / "z.txt").chmod(0o600 if name == "a" else 0o640)
        job_data.archive(folder, tmp_path / f"{name}.tar.gz")
        results.append((tmp_path / f"{name}.tar.gz").read_bytes())
    assert results[0] == results[1]
