/* The floor: a bare mixer of G.711 without signalling, jitter buffer, encryption or moderation. One thread, one socket for each
   person, a tick every 20 ms; the newest packet counts and two may wait. Everything is summed once, and one's own is subtracted; who
   only listens shares one frame.

   refmix CONFERENCES SIZE: person i is at 127.0.0.1, port 40000 + 2 i, and speaks with port 20000 + 2 i, where confab-load is. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { FRAME = 160, HEADER = 12, WAITING = 4, ENOUGH = 2, QUIET = 64, EVENTS = 4096, OURS = 40000, THEIRS = 20000 };

struct person {
  int socket, first, count, talks;
  uint16_t sequence;
  uint32_t timestamp;
  int16_t queue[WAITING][FRAME], frame[FRAME];
};

static uint8_t encoded[65536];
static int16_t decoded[256];

static uint8_t encode(int sample) {
  int sign = sample < 0 ? 0x80 : 0, exponent = 7;
  int biased = abs(sample);
  biased = (biased > 32635 ? 32635 : biased) + 0x84;
  for (int mask = 0x4000; exponent > 0 && !(biased & mask); mask >>= 1) exponent--;
  return ~(sign | exponent << 4 | ((biased >> (exponent + 3)) & 15));
}

static int16_t decode(uint8_t byte) {
  byte = ~byte;
  int magnitude = ((((byte & 15) << 3) + 0x84) << ((byte & 0x70) >> 4)) - 0x84;
  return byte & 0x80 ? -magnitude : magnitude;
}

static uint8_t limited(int sum) {
  return encoded[(uint16_t)(sum > 32767 ? 32767 : sum < -32768 ? -32768 : sum)];
}

static void open_sockets(struct person *people, int count, int epoll) {
  for (int i = 0; i < count; i++) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(OURS + 2 * i), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    people[i].socket = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (people[i].socket < 0 || bind(people[i].socket, (void *)&address, sizeof address)) {
      perror("refmix");
      exit(1);
    }
    address.sin_port = htons(THEIRS + 2 * i);
    connect(people[i].socket, (void *)&address, sizeof address);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    epoll_ctl(epoll, EPOLL_CTL_ADD, people[i].socket, &event);
  }
}

static void receive(struct person *person) {
  uint8_t packet[2048];
  long length;
  while ((length = recv(person->socket, packet, sizeof packet, 0)) > 0) {
    if (length < HEADER + FRAME || (packet[1] & 127) != 0) continue;
    if (person->count == WAITING) {
      person->first = (person->first + 1) % WAITING;
      person->count--;
    }
    int16_t *frame = person->queue[(person->first + person->count++) % WAITING];
    for (int i = 0; i < FRAME; i++) frame[i] = decoded[packet[HEADER + i]];
  }
}

/* Takes the person's next frame and adds it to the sum, if there is something in it. */
static void take(struct person *person, int32_t *sum) {
  int loudest = 0;
  while (person->count > ENOUGH) {
    person->first = (person->first + 1) % WAITING;
    person->count--;
  }
  person->talks = 0;
  if (person->count == 0) return;
  memcpy(person->frame, person->queue[person->first], sizeof person->frame);
  person->first = (person->first + 1) % WAITING;
  person->count--;
  for (int i = 0; i < FRAME; i++) loudest |= abs(person->frame[i]);
  if (loudest < QUIET) return;
  person->talks = 1;
  for (int i = 0; i < FRAME; i++) sum[i] += person->frame[i];
}

static void mix(struct person *people, int size) {
  int32_t sum[FRAME] = {0};
  uint8_t packet[HEADER + FRAME], shared[FRAME];
  int is_shared = 0;
  for (int i = 0; i < size; i++) take(&people[i], sum);
  for (int i = 0; i < size; i++) {
    struct person *person = &people[i];
    uint16_t sequence = htons(person->sequence++);
    uint32_t timestamp = htonl(person->timestamp), source = htonl(77 + person->socket);
    person->timestamp += FRAME;
    packet[0] = 0x80;
    packet[1] = 0;
    memcpy(packet + 2, &sequence, 2);
    memcpy(packet + 4, &timestamp, 4);
    memcpy(packet + 8, &source, 4);
    if (person->talks) {
      for (int k = 0; k < FRAME; k++) packet[HEADER + k] = limited(sum[k] - person->frame[k]);
    } else {
      if (!is_shared) {
        for (int k = 0; k < FRAME; k++) shared[k] = limited(sum[k]);
        is_shared = 1;
      }
      memcpy(packet + HEADER, shared, FRAME);
    }
    send(person->socket, packet, sizeof packet, 0);
  }
}

int main(int count, char **words) {
  static struct epoll_event events[EVENTS];
  if (count != 3) {
    fprintf(stderr, "usage: refmix CONFERENCES SIZE\n");
    return 2;
  }
  int conferences = atoi(words[1]), size = atoi(words[2]), epoll = epoll_create1(0);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  struct person *people = calloc(conferences * size, sizeof *people);
  for (int i = 0; i < 65536; i++) encoded[i] = encode((int16_t)i);
  for (int i = 0; i < 256; i++) decoded[i] = decode(i);
  open_sockets(people, conferences * size, epoll);
  int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec tick = {{0, 20000000}, {0, 20000000}};
  timerfd_settime(timer, 0, &tick, 0);
  puts("ready");
  fflush(stdout);
  for (;;) {
    uint64_t ticks;
    if (read(timer, &ticks, sizeof ticks) != sizeof ticks) continue;
    int ready = epoll_wait(epoll, events, EVENTS, 0);
    for (int i = 0; i < ready; i++) receive(&people[events[i].data.u32]);
    for (int i = 0; i < conferences; i++) mix(people + i * size, size);
  }
}
