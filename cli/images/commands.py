"""The commands of images: `make image`, `make image-verify`, `make docker-push` and its other steps."""

import argparse

from cli.images import code_image, docker_image
from cli.stack import open_stack
from include.settings import API_REPOSITORY, JOBS_REPOSITORY
from local.aws.credentials import session

CODE_IMAGES = (API_REPOSITORY, JOBS_REPOSITORY)


def push(_: argparse.Namespace) -> None:
    """Build the code images, push them, and print their references by digest."""
    stack = open_stack()
    for name in CODE_IMAGES:
        print(code_image.push(session(stack), stack, code_image.build(name)))


def verify(_: argparse.Namespace) -> None:
    """Build the code images again and compare them and their SBOMs with what the registry has."""
    stack = open_stack()
    for name in CODE_IMAGES:
        print(code_image.verify(session(stack), stack, code_image.build(name)))


def docker(arguments: argparse.Namespace) -> None:
    """Do one step with a Docker image on its way to ECR."""
    docker_image.run(arguments.step, arguments.target, arguments.tag)
