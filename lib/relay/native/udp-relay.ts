/**
 * Owns the UDP flows of a relay thread, from the first datagram to the last idle moment.
 *
 *   listener readable -> recvmmsg -> flow (new: pick, connect) -> send -> backend
 *   flow readable     -> recv -> batch of replies -> sendmmsg from the dialled address -> client
 *
 * A flow's socket is connected, so that the kernel filters strangers and tells of a port that refuses (udp(7)). Descriptors are
 * level-triggered: one read an event, and no read that only finds EAGAIN.
 */
import { NONE_TRIED } from '../../balance/balancer.js';
import type { Target } from '../../balance/target.js';
import * as k from '../../sys/constants.js';
import { errnoName } from '../../sys/errors.js';
import { close, connect, errno, recv, send, socket } from '../../sys/libc.js';
import { Memory } from '../../sys/memory.js';
import { DATAGRAM_BYTES, Messages } from '../../sys/messages.js';
import { readHostPort, readIp, SOCKADDR_BYTES } from '../../sys/sockaddr.js';
import { familyNumber } from '../../sys/socket.js';
import type { EngineEvents, EngineOptions } from '../engine.js';
import { type AcceptGate, isExhaustion, isLocalFault } from './accept-gate.js';
import { destinationOf } from './destination.js';
import { emptyLists, type FlowList, type FlowLists, Flows, KEY_WORDS, PEER_WORDS } from './flows.js';
import type { Listener } from './listener.js';
import { type Loop, type Part, UDP_FLOW, UDP_LISTENER } from './loop.js';
import { Retained } from './retained.js';
import { isWildcard } from './udp-options.js';

const BATCH = 32;
/** Batches of one listener in one turn (fairness). */
const BATCHES_A_TURN = 4;
/** Lists are looked at for what is over at most this often. */
const EXPIRY_STEP_MS = 20;
/** Out of descriptors, a flow this long without use is idle enough to go (rule T8). */
const SHED_IDLE_MS = 1_000;
const SOCKADDR_WORDS = SOCKADDR_BYTES / 4;

/** What the relay keeps for a listener that receives. */
interface Receiving {
  readonly listener: Listener;
  readonly family: number;
  readonly wildcard: boolean;
}

export class UdpRelay implements Part {
  readonly #flows: Flows;
  readonly #retained: Retained;
  readonly #requests = new Messages(BATCH);
  readonly #replies = new Messages(BATCH);
  /** Replies that wait in `#replies`, all of them for clients of one listener. */
  #replyCount = 0;
  #replyFrom: Receiving | undefined;
  readonly #receiving: (Receiving | undefined)[] = [];
  readonly #lists = new Map<Listener, FlowLists>();
  readonly #key = new Int32Array(KEY_WORDS);
  readonly #peer = new Memory(SOCKADDR_BYTES);
  #receiveGeneration = 0;
  /** Nothing is over before. */
  #expireAt = Number.POSITIVE_INFINITY;

  constructor(
    private readonly loop: Loop,
    private readonly gate: AcceptGate,
    private readonly events: EngineEvents,
    private readonly options: EngineOptions,
  ) {
    this.#flows = new Flows((capacity) => this.#retained.grow(capacity));
    this.#retained = new Retained(this.#flows.slots.capacity);
    loop.handle(UDP_LISTENER, (index, generation) => this.#listenerReady(index, generation));
    loop.handle(UDP_FLOW, (f, generation) => this.#flowReady(f, generation));
  }

  /** A listener has opened its socket. */
  receive(listener: Listener): void {
    const { host } = listener.spec;
    this.#receiveGeneration = (this.#receiveGeneration + 1) & 0x7fffffff;
    listener.generation = this.#receiveGeneration;
    this.#receiving[listener.index] = { listener, family: familyNumber(host), wildcard: isWildcard(host) };
    this.#lists.set(listener, emptyLists());
    this.loop.watch(listener.fd, k.EPOLLIN, UDP_LISTENER, listener.index, listener.generation);
  }

  /** A listener is about to close its socket: its flows have nobody to answer through. */
  forget(listener: Listener): void {
    this.endFlows(listener);
    this.#receiving[listener.index] = undefined;
    this.#lists.delete(listener);
  }

  endFlows(listener: Listener): void {
    this.#endWhere(listener, () => true);
  }

  /** Ends the flows to backends that left (rule U5). */
  endFlowsTo(listener: Listener, left: readonly Target[]): void {
    if (left.length === 0 || listener.active === 0) return;
    this.#endWhere(listener, (f) => {
      const target = this.#flows.target[f];
      return target !== undefined && left.includes(target);
    });
  }

  /** Out of descriptors: lets go what has been idle. */
  shed(nowMs: number): void {
    for (const listener of this.#lists.keys()) {
      this.#endWhere(listener, (f) => nowMs - (this.#flows.activeAt[f] ?? nowMs) >= SHED_IDLE_MS);
    }
  }

  waitMs(nowMs: number): number {
    return this.#flows.slots.used === 0 ? -1 : Math.max(0, Math.ceil(this.#expireAt - nowMs));
  }

  afterBatch(nowMs: number): void {
    this.#sendReplies();
    if (nowMs >= this.#expireAt) this.#expire(nowMs);
  }

  #listenerReady(index: number, generation: number): void {
    const receiving = this.#receiving[index];
    if (receiving === undefined || receiving.listener.generation !== generation) return;
    for (let batches = 0; batches < BATCHES_A_TURN; batches++) {
      const count = this.#requests.receive(receiving.listener.fd);
      if (count <= 0) return;
      for (let i = 0; i < count; i++) this.#request(receiving, i);
      this.#requests.release(count);
      if (count < BATCH) return;
    }
  }

  /** Datagram `i` of the batch, from a client. */
  #request(receiving: Receiving, i: number): void {
    const { listener } = receiving;
    this.#readKey(receiving, i);
    let f = this.#flows.find(listener, this.#key);
    if (f < 0) {
      f = this.#begin(receiving, i);
    } else {
      const list = this.#flows.list[f];
      if (list !== undefined) this.#flows.touch(f, list, this.loop.nowMs);
    }
    if (f < 0 || !this.#send(f, this.#requests.data(i), this.#requests.length(i))) listener.datagramsDropped += 1;
  }

  #readKey({ family, wildcard }: Receiving, i: number): void {
    const key = this.#key;
    const { words } = this.#requests.peers;
    const at = i * SOCKADDR_WORDS;
    const count = family === k.AF_INET6 ? PEER_WORDS : 4;
    for (let word = 0; word < PEER_WORDS; word++) key[word] = word < count ? (words[at + word] ?? 0) : 0;
    if (wildcard) this.#requests.readLocal(i, key, PEER_WORDS);
    else key.fill(0, PEER_WORDS);
  }

  /** A flow for a new client, connected; -1 where no backend can be reached. */
  #begin({ listener }: Receiving, i: number): number {
    const lists = this.#lists.get(listener);
    if (lists === undefined || listener.balancer.size === 0) return -1;
    if (listener.active >= this.options.maxUdpFlows) this.#evict(lists);
    const { nowMs } = this.loop;
    const f = this.#flows.begin(listener, this.#key, lists.unreplied, nowMs);
    listener.active += 1;
    listener.total += 1;
    this.#expireAt = Math.min(this.#expireAt, nowMs + this.options.udpUnrepliedTimeoutMs);
    const client =
      listener.balancer.affinity === undefined ? undefined : readIp(this.#requests.peers, i * SOCKADDR_BYTES);
    if (this.#connect(f, client)) return f;
    this.#end(f);
    return -1;
  }

  /** Gives the flow a socket to the next backend that takes one. */
  #connect(f: number, client: string | undefined): boolean {
    const { target: targets, tried } = this.#flows;
    const listener = this.#flows.listener[f];
    if (listener === undefined) return false;
    for (;;) {
      const failed = tried[f] ?? NONE_TRIED;
      if (failed.length >= this.options.dialAttempts) return false;
      const target = listener.balancer.pick(client, failed);
      if (target === undefined) return false;
      if (failed.length > 0) listener.dialRetries += 1;
      targets[f] = target;
      const destination = destinationOf(target);
      const fd = this.#socket(destination.family);
      if (fd < 0) return false;
      if (connect(fd, destination.address, destination.length) === 0) return this.#watch(f, fd);
      const error = errno();
      close(fd);
      this.#failed(f, error);
    }
  }

  #watch(f: number, fd: number): boolean {
    if (this.loop.watch(fd, k.EPOLLIN, UDP_FLOW, f, this.#flows.generation[f] ?? 0) < 0) {
      close(fd);
      return false;
    }
    this.#flows.fd[f] = fd;
    return true;
  }

  /** A descriptor, if need be after idle flows have given theirs; -1 without. */
  #socket(family: number): number {
    const type = k.SOCK_DGRAM | k.SOCK_NONBLOCK | k.SOCK_CLOEXEC;
    const fd = socket(family, type, 0);
    if (fd >= 0 || !isExhaustion(errno())) return fd;
    this.gate.pause(this.loop.nowMs, errno());
    return socket(family, type, 0);
  }

  /** Sends one datagram to the backend of a flow, to another one if it refuses (rule U4). False: it is lost. */
  #send(f: number, address: number, length: number): boolean {
    for (;;) {
      const listener = this.#flows.listener[f];
      if (listener === undefined) return false;
      if (send(this.#flows.fd[f] ?? -1, address, length, k.MSG_NOSIGNAL) >= 0) {
        listener.datagramsUp += 1;
        listener.bytesUp += length;
        this.#retained.keep(f, address, length);
        return true;
      }
      const error = errno();
      if (error === k.EINTR) continue;
      if (error === k.EAGAIN || error === k.EMSGSIZE || isExhaustion(error)) return false;
      // The error is the answer to an earlier datagram (udp(7)); this one has not been sent.
      if (!this.#move(f, error)) return false;
    }
  }

  /** The backend of a flow refuses: gives it another one, and the datagrams that were not answered. False: the flow has ended. */
  #move(f: number, error: number): boolean {
    const flows = this.#flows;
    const listener = flows.listener[f];
    close(flows.fd[f] ?? -1);
    flows.retire(f);
    this.#failed(f, error);
    if (!this.#connect(f, this.#client(f))) {
      if (listener !== undefined) listener.datagramsDropped += this.#retained.each(f, ignore);
      this.#end(f);
      return false;
    }
    const fd = flows.fd[f] ?? -1;
    this.#retained.each(f, (address, length) => send(fd, address, length, k.MSG_NOSIGNAL));
    return true;
  }

  #failed(f: number, error: number): void {
    const { listener: listeners, target: targets, tried } = this.#flows;
    const listener = listeners[f];
    const target = targets[f];
    if (listener === undefined || target === undefined) return;
    listener.dialFailures += 1;
    if (!isLocalFault(error)) listener.balancer.failed(target);
    tried[f] = [...(tried[f] ?? []), target];
    targets[f] = undefined;
    this.events.log('debug', 'flow failed', {
      key: listener.servicePort,
      client: readHostPort(this.#peerOf(f), 0),
      backend: target.key,
      code: errnoName(error),
    });
  }

  /** The client's address where affinity asks for it. */
  #client(f: number): string | undefined {
    if (this.#flows.listener[f]?.balancer.affinity === undefined) return undefined;
    return readIp(this.#peerOf(f), 0);
  }

  /** The client's sockaddr; until the next call. */
  #peerOf(f: number): Memory {
    const at = f * KEY_WORDS;
    this.#peer.words.set(this.#flows.keys.subarray(at, at + PEER_WORDS));
    return this.#peer;
  }

  #flowReady(f: number, generation: number): void {
    const flows = this.#flows;
    if (flows.generation[f] !== generation) return;
    const listener = flows.listener[f];
    const receiving = listener === undefined ? undefined : this.#receiving[listener.index];
    if (listener === undefined || receiving === undefined) return;
    if (this.#replyCount === BATCH || this.#replyFrom !== receiving) this.#sendReplies();
    const slot = this.#replyCount;
    const length = recv(flows.fd[f] ?? -1, this.#replies.data(slot), DATAGRAM_BYTES, 0);
    if (length < 0) {
      const error = errno();
      if (error !== k.EAGAIN && error !== k.EINTR) this.#move(f, error);
      return;
    }
    this.#replyFrom = receiving;
    this.#replyCount = slot + 1;
    const at = f * KEY_WORDS;
    this.#replies.setPeer(slot, flows.keys, at);
    this.#replies.prepare(slot, length, receiving.family, flows.keys, at + PEER_WORDS);
    this.#answered(f, listener);
  }

  #answered(f: number, listener: Listener): void {
    const flows = this.#flows;
    const replied = this.#lists.get(listener)?.replied;
    const target = flows.target[f];
    if (replied === undefined) return;
    if (flows.list[f] !== replied) {
      this.#expireAt = Math.min(this.#expireAt, this.loop.nowMs + this.options.udpTimeoutMs);
    }
    flows.touch(f, replied, this.loop.nowMs);
    flows.tried[f] = undefined;
    this.#retained.clear(f);
    if (target !== undefined) listener.balancer.succeeded(target);
  }

  #sendReplies(): void {
    const end = this.#replyCount;
    const listener = this.#replyFrom?.listener;
    this.#replyCount = 0;
    if (listener === undefined) return;
    for (let first = 0; first < end; ) {
      const sent = this.#replies.send(listener.fd, first, end);
      for (let i = first; i < first + sent; i++) this.#countReply(listener, i);
      first += Math.max(0, sent);
      if (sent >= 0 || errno() === k.EINTR) continue;
      // The first of the rest cannot be sent: its client is out of reach, or the queue is full.
      listener.datagramsDropped += 1;
      first += 1;
    }
  }

  #countReply(listener: Listener, i: number): void {
    listener.datagramsDown += 1;
    listener.bytesDown += this.#replies.length(i);
  }

  /** The longest unused flow of a listener makes room (rule U6). */
  #evict({ unreplied, replied }: FlowLists): void {
    const { activeAt } = this.#flows;
    const one = unreplied.head;
    const two = replied.head;
    if (one < 0 && two < 0) return;
    this.#end(two < 0 || (one >= 0 && (activeAt[one] ?? 0) <= (activeAt[two] ?? 0)) ? one : two);
  }

  #expire(nowMs: number): void {
    let next = Number.POSITIVE_INFINITY;
    for (const { unreplied, replied } of this.#lists.values()) {
      next = Math.min(
        next,
        this.#expireList(unreplied, this.options.udpUnrepliedTimeoutMs, nowMs),
        this.#expireList(replied, this.options.udpTimeoutMs, nowMs),
      );
    }
    this.#expireAt = Math.max(next, nowMs + EXPIRY_STEP_MS);
  }

  /** Ends what is over in one list; returns when the next one will be. */
  #expireList(list: FlowList, timeoutMs: number, nowMs: number): number {
    while (list.head >= 0) {
      const until = (this.#flows.activeAt[list.head] ?? 0) + timeoutMs;
      if (until > nowMs) return until;
      this.#end(list.head);
    }
    return Number.POSITIVE_INFINITY;
  }

  #endWhere(listener: Listener, condition: (f: number) => boolean): void {
    const lists = this.#lists.get(listener);
    if (lists === undefined) return;
    for (const { head } of [lists.unreplied, lists.replied]) {
      for (let f = head; f >= 0; ) {
        const after = this.#flows.after(f);
        if (condition(f)) this.#end(f);
        f = after;
      }
    }
  }

  #end(f: number): void {
    const flows = this.#flows;
    const listener = flows.listener[f];
    const fd = flows.fd[f] ?? -1;
    if (fd >= 0) close(fd);
    this.#retained.drop(f);
    flows.end(f);
    if (listener !== undefined) listener.active -= 1;
  }
}

function ignore(): void {}
