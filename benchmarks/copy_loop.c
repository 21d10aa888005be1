/* The limit that `benchmarks/copy.py` compares with: TLS read, SHA-256, TLS write, in one loop of one thread.
   copy_loop SOURCE_PORT SINK_PORT BYTES CA_FILE: prints wall and CPU seconds. */
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

static unsigned char block[128 * 1024];

static void fail(const char *what) {
  fprintf(stderr, "copy_loop: %s\n", what);
  exit(1);
}

static SSL *open_tls(SSL_CTX *context, int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
  SSL *tls = SSL_new(context);
  SSL_set_fd(tls, fd);
  if (SSL_connect(tls) != 1) fail("handshake");
  return tls;
}

static void write_all(SSL *tls, const void *data, size_t size) {
  size_t written;
  if (!SSL_write_ex(tls, data, size, &written) || written != size) fail("write");
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  if (argc != 5) fail("usage");
  long long total = atoll(argv[3]), copied = 0;
  SSL_CTX *context = SSL_CTX_new(TLS_client_method());
  if (SSL_CTX_load_verify_locations(context, argv[4], NULL) != 1) fail("authority");
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  double began = seconds();
  SSL *source = open_tls(context, atoi(argv[1])), *sink = open_tls(context, atoi(argv[2]));
  char head[512];
  int length = snprintf(head, sizeof head, "GET /%lld HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", total);
  write_all(source, head, length);
  length = snprintf(head, sizeof head, "PUT /b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %lld\r\n\r\n", total);
  write_all(sink, head, length);
  EVP_MD_CTX *digest = EVP_MD_CTX_new();
  EVP_DigestInit_ex(digest, EVP_sha256(), NULL);
  size_t held = 0, got;
  char *body = NULL;
  while (!body) { /* the head of the answer, and what came with it */
    if (held == sizeof block - 1 || !SSL_read_ex(source, block + held, sizeof block - 1 - held, &got)) fail("head");
    held += got;
    block[held] = 0;
    body = strstr((char *)block, "\r\n\r\n");
  }
  held -= body + 4 - (char *)block;
  memmove(block, body + 4, held);
  while (copied < total) {
    while (held < sizeof block && copied + (long long)held < total) {
      if (!SSL_read_ex(source, block + held, sizeof block - held, &got)) fail("read");
      held += got;
    }
    EVP_DigestUpdate(digest, block, held);
    write_all(sink, block, held);
    copied += held;
    held = 0;
  }
  unsigned char sum[EVP_MAX_MD_SIZE];
  EVP_DigestFinal_ex(digest, sum, NULL);
  if (!SSL_read_ex(sink, head, sizeof head - 1, &got) || strncmp(head, "HTTP/1.1 200", 12)) fail("answer");
  double wall = seconds() - began;
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  printf("%.6f %.6f\n", wall,
         used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
  return 0;
}
