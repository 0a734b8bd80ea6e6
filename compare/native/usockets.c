// `usockets tcp PORT`: TCP echo on uSockets. As `peers`: on 127.0.0.1, tells where it listens, and ends with SIGTERM.

#include <libusockets.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SSL = 0, IDLE_SECONDS = 120 };

// What the socket did not take.
struct rest {
    char *bytes;
    int length;
};

static struct us_socket_t *on_open(struct us_socket_t *socket, int is_client, char *ip, int ip_length) {
    (void) is_client, (void) ip, (void) ip_length;
    *(struct rest *) us_socket_ext(SSL, socket) = (struct rest) {0};
    us_socket_timeout(SSL, socket, IDLE_SECONDS);
    return socket;
}

static struct us_socket_t *on_data(struct us_socket_t *socket, char *bytes, int length) {
    struct rest *rest = us_socket_ext(SSL, socket);
    int written = rest->length ? 0 : us_socket_write(SSL, socket, bytes, length, 0);
    if (written != length) {
        rest->bytes = realloc(rest->bytes, rest->length + length - written);
        memcpy(rest->bytes + rest->length, bytes + written, length - written);
        rest->length += length - written;
    }
    us_socket_timeout(SSL, socket, IDLE_SECONDS);
    return socket;
}

static struct us_socket_t *on_writable(struct us_socket_t *socket) {
    struct rest *rest = us_socket_ext(SSL, socket);
    int written = us_socket_write(SSL, socket, rest->bytes, rest->length, 0);
    rest->length -= written;
    if (rest->length) {
        memmove(rest->bytes, rest->bytes + written, rest->length);
    } else {
        free(rest->bytes);
        rest->bytes = 0;
    }
    us_socket_timeout(SSL, socket, IDLE_SECONDS);
    return socket;
}

static struct us_socket_t *on_close(struct us_socket_t *socket, int code, void *reason) {
    (void) code, (void) reason;
    free(((struct rest *) us_socket_ext(SSL, socket))->bytes);
    return socket;
}

static struct us_socket_t *on_end(struct us_socket_t *socket) {
    us_socket_shutdown(SSL, socket);
    return us_socket_close(SSL, socket, 0, 0);
}

static struct us_socket_t *on_timeout(struct us_socket_t *socket) {
    return us_socket_close(SSL, socket, 0, 0);
}

static void nothing(struct us_loop_t *loop) {
    (void) loop;
}

int main(int count, char **arguments) {
    if (count != 3) {
        fputs("usage: usockets tcp PORT\n", stderr);
        return EXIT_FAILURE;
    }
    struct us_loop_t *loop = us_create_loop(0, nothing, nothing, nothing, 0);
    struct us_socket_context_options_t options = {0};
    struct us_socket_context_t *echo = us_create_socket_context(SSL, loop, 0, options);
    us_socket_context_on_open(SSL, echo, on_open);
    us_socket_context_on_data(SSL, echo, on_data);
    us_socket_context_on_writable(SSL, echo, on_writable);
    us_socket_context_on_close(SSL, echo, on_close);
    us_socket_context_on_end(SSL, echo, on_end);
    us_socket_context_on_timeout(SSL, echo, on_timeout);
    struct us_listen_socket_t *listener =
        us_socket_context_listen(SSL, echo, "127.0.0.1", atoi(arguments[2]), 0, sizeof(struct rest));
    if (!listener) {
        fprintf(stderr, "cannot listen on port %s\n", arguments[2]);
        return EXIT_FAILURE;
    }
    printf("listening on 127.0.0.1:%d\n", us_socket_local_port(SSL, (struct us_socket_t *) listener));
    fflush(stdout);
    us_loop_run(loop);
    return EXIT_SUCCESS;
}
