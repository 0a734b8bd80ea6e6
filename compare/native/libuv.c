// `libuv tcp|udp PORT`: echo on libuv. As `peers`: on 127.0.0.1, tells where it listens, and ends with SIGTERM.

#include <uv.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BACKLOG = 4096 };

// What is read into: nobody keeps it, since what is not written at once is copied.
static char buffer[64 * 1024];

// What the socket did not take.
struct rest {
    union {
        uv_write_t write;
        uv_udp_send_t send;
    } request;
    char bytes[];
};

static void check(int status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", what, uv_strerror(status));
        exit(EXIT_FAILURE);
    }
}

static struct rest *keep(uv_buf_t *unsent) {
    struct rest *rest = malloc(sizeof(struct rest) + unsent->len);
    memcpy(rest->bytes, unsent->base, unsent->len);
    unsent->base = rest->bytes;
    return rest;
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *room) {
    (void) handle, (void) suggested;
    *room = uv_buf_init(buffer, sizeof(buffer));
}

static void on_closed(uv_handle_t *handle) {
    free(handle);
}

static void close_once(uv_handle_t *handle) {
    if (!uv_is_closing(handle)) {
        uv_close(handle, on_closed);
    }
}

static void on_written(uv_write_t *request, int status) {
    if (status < 0) {
        close_once((uv_handle_t *) request->handle);
    }
    free(request);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *room) {
    if (length < 0) {
        close_once((uv_handle_t *) stream);
        return;
    }
    uv_buf_t unsent = uv_buf_init(room->base, length);
    int written = uv_try_write(stream, &unsent, 1); // UV_EAGAIN where something waits already
    if (written > 0) {
        unsent = uv_buf_init(unsent.base + written, unsent.len - written);
    }
    if (unsent.len > 0) {
        struct rest *rest = keep(&unsent);
        uv_write(&rest->request.write, stream, &unsent, 1, on_written);
    }
}

static void on_connection(uv_stream_t *listener, int status) {
    uv_tcp_t *stream = malloc(sizeof(uv_tcp_t));
    uv_tcp_init(listener->loop, stream);
    if (status < 0 || uv_accept(listener, (uv_stream_t *) stream) < 0) {
        close_once((uv_handle_t *) stream);
        return;
    }
    uv_tcp_nodelay(stream, 1);
    uv_read_start((uv_stream_t *) stream, on_allocate, on_read);
}

static void on_sent(uv_udp_send_t *request, int status) {
    (void) status;
    free(request);
}

static void on_datagram(
    uv_udp_t *socket, ssize_t length, const uv_buf_t *room, const struct sockaddr *peer, unsigned int flags) {
    (void) flags;
    if (length < 0 || !peer) {
        return; // nothing more is there
    }
    uv_buf_t unsent = uv_buf_init(room->base, length);
    if (uv_udp_try_send(socket, &unsent, 1, peer) == UV_EAGAIN) {
        struct rest *rest = keep(&unsent);
        uv_udp_send(&rest->request.send, socket, &unsent, 1, peer, on_sent);
    }
}

static void announce(const struct sockaddr_in *address) {
    printf("listening on 127.0.0.1:%d\n", ntohs(address->sin_port));
    fflush(stdout);
}

int main(int count, char **arguments) {
    if (count != 3) {
        fputs("usage: libuv tcp|udp PORT\n", stderr);
        return EXIT_FAILURE;
    }
    uv_loop_t *loop = uv_default_loop();
    struct sockaddr_in address;
    int length = sizeof(address);
    check(uv_ip4_addr("127.0.0.1", atoi(arguments[2]), &address), "port");
    uv_tcp_t listener;
    uv_udp_t socket;
    if (strcmp(arguments[1], "udp") == 0) {
        check(uv_udp_init(loop, &socket), "socket");
        check(uv_udp_bind(&socket, (struct sockaddr *) &address, 0), "bind");
        check(uv_udp_recv_start(&socket, on_allocate, on_datagram), "receive");
        check(uv_udp_getsockname(&socket, (struct sockaddr *) &address, &length), "address");
    } else {
        check(uv_tcp_init(loop, &listener), "socket");
        check(uv_tcp_bind(&listener, (struct sockaddr *) &address, 0), "bind");
        check(uv_listen((uv_stream_t *) &listener, BACKLOG, on_connection), "listen");
        check(uv_tcp_getsockname(&listener, (struct sockaddr *) &address, &length), "address");
    }
    announce(&address);
    return uv_run(loop, UV_RUN_DEFAULT);
}
