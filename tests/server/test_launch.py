"""The socket that `hpo up` listens on."""

from __future__ import annotations

import asyncio
import socket

import pytest

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.server.launch import Address, _listening


def test_answers_are_sent_at_once() -> None:
    """Held back by the kernel until the reader confirms what came before, each would take 40 ms more."""

    async def accepted() -> int:
        nodelay: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            nodelay.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()
            await writer.wait_closed()

        with _listening(Address(port=0)) as listening:
            server = await asyncio.start_server(greet, sock=listening)
            async with server:
                _, writer = await asyncio.open_connection(*listening.getsockname())
                found = await asyncio.wait_for(nodelay, 60)
                writer.close()
                await writer.wait_closed()
        return found

    assert asyncio.run(accepted()) != 0


def test_a_port_that_is_taken_is_said() -> None:
    with _listening(Address(port=0)) as listening, pytest.raises(ConfigError, match=r"cannot be used.*--port 0"):
        _listening(Address(port=listening.getsockname()[1])).__enter__()
