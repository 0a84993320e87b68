import socket
from threading import Thread

from millstream import StreamExecutionEnvironment


def serve(server: socket.socket) -> None:
    """What `nc -lk 9999` and somebody who types would do."""
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"to be\nor not\nto be\n")


with socket.create_server(("localhost", 0)) as server:
    Thread(target=serve, args=(server,)).start()
    host, port = server.getsockname()

    env = StreamExecutionEnvironment.get_execution_environment()
    env.socket_text_stream(host, port).flat_map(str.split, str).print("word")
    env.execute()
