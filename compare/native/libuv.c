// `libuv tcp|udp PORT`: echo on libuv. As `peers`: on 127.0.0.1, tells where it listens, and ends with SIGTERM.

#include <uv.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BACKLOG = 4096,
    DATAGRAMS = 20, // that recvmmsg may bring at once: libuv takes no more
};

// What is read into, 64 KiB of it for a stream and for a datagram, as libuv suggests: nobody keeps it, since what is not written at once is copied.
static char buffer[DATAGRAMS * 64 * 1024];

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
    *room = uv_buf_init(buffer, handle->type == UV_UDP ? sizeof(buffer) : suggested);
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

// What came at once, to go back at once.
static struct {
    unsigned int count;
    uv_buf_t payloads[DATAGRAMS];
    struct sockaddr_in peers[DATAGRAMS];
} batch;

static void send_back(uv_udp_t *socket) {
    uv_buf_t *payloads[DATAGRAMS];
    unsigned int ones[DATAGRAMS];
    struct sockaddr *peers[DATAGRAMS];
    for (unsigned int i = 0; i < batch.count; i++) {
        payloads[i] = &batch.payloads[i];
        ones[i] = 1;
        peers[i] = (struct sockaddr *) &batch.peers[i];
    }
    int sent = uv_udp_try_send2(socket, batch.count, payloads, ones, peers, 0); // UV_EAGAIN where something waits already
    for (unsigned int i = sent < 0 ? 0 : sent; i < batch.count; i++) {
        struct rest *rest = keep(payloads[i]);
        uv_udp_send(&rest->request.send, socket, payloads[i], 1, peers[i], on_sent);
    }
    batch.count = 0;
}

static void on_datagram(
    uv_udp_t *socket, ssize_t length, const uv_buf_t *room, const struct sockaddr *peer, unsigned int flags) {
    if (length >= 0 && peer) {
        batch.payloads[batch.count] = uv_buf_init(room->base, length);
        memcpy(&batch.peers[batch.count++], peer, sizeof(struct sockaddr_in));
    }
    // It is one of several but for the last call, which brings none.
    if (!(flags & UV_UDP_MMSG_CHUNK) && batch.count > 0) {
        send_back(socket);
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
    signal(SIGPIPE, SIG_IGN); // libuv leaves that to its users
    uv_loop_t *loop = uv_default_loop();
    struct sockaddr_in address;
    int length = sizeof(address);
    check(uv_ip4_addr("127.0.0.1", atoi(arguments[2]), &address), "port");
    uv_tcp_t listener;
    uv_udp_t socket;
    if (strcmp(arguments[1], "udp") == 0) {
        check(uv_udp_init_ex(loop, &socket, AF_INET | UV_UDP_RECVMMSG), "socket");
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
