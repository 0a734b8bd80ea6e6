// `uwebsockets ws|wsz PORT`: WebSocket echo on uWebSockets, `wsz` with permessage-deflate. As `peers`: on 127.0.0.1, tells
// where it listens, and ends with SIGTERM.
//
// uWebSockets writes what is sent while it goes through what one read has brought with one call, up to 16 KiB.

// Its level is zlib's default, 6, and cannot be set; here it is 1, as the other servers' is.
#include <zlib.h>
#undef Z_DEFAULT_COMPRESSION
#define Z_DEFAULT_COMPRESSION Z_BEST_SPEED

#include <App.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

struct None {};

constexpr unsigned int MEBIBYTE = 1 << 20;

int serve(bool compress, int port) {
    bool listens = false;
    uWS::App()
        .ws<None>("/*", {
            // One for all connections: it begins anew with each message, as the load asks for.
            .compression = compress ? uWS::CompressOptions(uWS::SHARED_COMPRESSOR | uWS::SHARED_DECOMPRESSOR) : uWS::DISABLED,
            .maxPayloadLength = 16 * MEBIBYTE,
            .idleTimeout = 120,
            .maxBackpressure = 64 * MEBIBYTE,
            .sendPingsAutomatically = true,
            .message = [compress](auto *socket, std::string_view message, uWS::OpCode code) {
                socket->send(message, code, compress);
            },
        })
        .listen("127.0.0.1", port, [&listens](auto *socket) {
            if (socket) {
                listens = true;
                std::printf("listening on 127.0.0.1:%d\n", us_socket_local_port(0, reinterpret_cast<us_socket_t *>(socket)));
                std::fflush(stdout);
            }
        })
        .run();
    return listens ? EXIT_SUCCESS : EXIT_FAILURE;
}

}

int main(int count, char **arguments) {
    if (count != 3) {
        std::fputs("usage: uwebsockets ws|wsz PORT\n", stderr);
        return EXIT_FAILURE;
    }
    return serve(std::strcmp(arguments[1], "wsz") == 0, std::atoi(arguments[2]));
}
