/**
 * Owns the UDP flows of a relay thread, from the first datagram to the last idle moment.
 *
 *   listener readable -> recvmmsg -> flow (new: pick, connect) -> queued, sent together -> backend
 *   flow readable     -> recv -> batch of replies -> sendmmsg from the dialled address -> client
 *
 * A flow's socket is connected, so that the kernel filters strangers and tells of a port that refuses (udp(7)). Descriptors are
 * level-triggered: one read an event, and no read that only finds EAGAIN.
 */
import type { Target } from '../../balance/target.js';
import * as linux from '../../sys/constants.js';
import { close, errno } from '../../sys/libc.js';
import type { Ring } from '../../sys/ring.js';
import { SOCKADDR_BYTES } from '../../sys/sockaddr.js';
import { familyNumber } from '../../sys/socket.js';
import type { EngineEvents, EngineOptions } from '../engine.js';
import type { AcceptGate } from './accept-gate.js';
import { emptyList, type FlowList, Flows, KEY_WORDS, PEER_WORDS } from './flows.js';
import type { Listener } from './listener.js';
import { type Loop, type Part, UDP_FLOW, UDP_LISTENER } from './loop.js';
import { Retained } from './retained.js';
import { isWildcard } from './udp-options.js';
import { UdpReplies } from './udp-replies.js';
import { BATCH, UdpRequests } from './udp-requests.js';
import { UdpUpstreams } from './udp-upstreams.js';

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
  /** Its flows, by whether they had an answer. */
  readonly unreplied: FlowList;
  readonly replied: FlowList;
}

export class UdpRelay implements Part {
  readonly #flows: Flows;
  readonly #retained: Retained;
  readonly #requests: UdpRequests;
  readonly #replies: UdpReplies;
  readonly #upstreams: UdpUpstreams;
  readonly #receiving: (Receiving | undefined)[] = [];
  readonly #key = new Int32Array(KEY_WORDS);
  #receiveGeneration = 0;
  /** Nothing is over before. */
  #expireAt = Number.POSITIVE_INFINITY;

  constructor(
    private readonly loop: Loop,
    gate: AcceptGate,
    events: EngineEvents,
    private readonly options: EngineOptions,
    ring: Ring | undefined,
  ) {
    this.#flows = new Flows((capacity) => this.#retained.grow(capacity));
    this.#retained = new Retained(this.#flows.slots.capacity);
    this.#replies = new UdpReplies(this.#flows);
    this.#upstreams = new UdpUpstreams(this.#flows, loop, gate, events, options);
    this.#requests = new UdpRequests(this.#flows, this.#retained, this.#upstreams, ring, (f) => this.#end(f));
    loop.handle(UDP_LISTENER, (index, generation) => this.#listenerReady(index, generation));
    loop.handle(UDP_FLOW, (f, generation) => this.#flowReady(f, generation));
  }

  /** A listener has opened its socket. */
  receive(listener: Listener): void {
    const { host } = listener.spec;
    this.#receiveGeneration = (this.#receiveGeneration + 1) & 0x7fffffff;
    listener.generation = this.#receiveGeneration;
    this.#receiving[listener.index] = {
      listener,
      family: familyNumber(host),
      wildcard: isWildcard(host),
      unreplied: emptyList(),
      replied: emptyList(),
    };
    this.loop.watch(listener.fd, linux.EPOLLIN, UDP_LISTENER, listener.index, listener.generation);
  }

  /** A listener is about to close its socket: its flows have nobody to answer through. */
  forget(listener: Listener): void {
    const receiving = this.#receiving[listener.index];
    if (receiving?.listener !== listener) return;
    this.#endWhere(receiving, () => true);
    this.#receiving[listener.index] = undefined;
  }

  /** Ends the flows to backends that left (rule U5). */
  endFlowsTo(listener: Listener, left: readonly Target[]): void {
    const receiving = this.#receiving[listener.index];
    if (receiving?.listener !== listener || left.length === 0) return;
    this.#endWhere(receiving, (f) => {
      const target = this.#flows.target[f];
      return target !== undefined && left.includes(target);
    });
  }

  /** Out of descriptors: lets go what has been idle. */
  shed(nowMs: number): void {
    this.#requests.flush();
    const idle = (f: number): boolean => nowMs - (this.#flows.activeAt[f] ?? nowMs) >= SHED_IDLE_MS;
    for (const receiving of this.#receiving) if (receiving !== undefined) this.#endWhere(receiving, idle);
  }

  waitMs(nowMs: number): number {
    return this.#flows.slots.used === 0 ? -1 : Math.max(0, Math.ceil(this.#expireAt - nowMs));
  }

  afterBatch(nowMs: number): void {
    this.#replies.send();
    if (nowMs >= this.#expireAt) this.#expire(nowMs);
  }

  #listenerReady(index: number, generation: number): void {
    const receiving = this.#receiving[index];
    if (receiving === undefined || receiving.listener.generation !== generation) return;
    for (let batches = 0; batches < BATCHES_A_TURN; batches++) {
      const count = this.#requests.receive(receiving.listener);
      if (count <= 0) return;
      for (let i = 0; i < count; i++) this.#request(receiving, i);
      this.#requests.flush();
      this.#requests.messages.release(count);
      if (count < BATCH) return;
    }
  }

  /** Datagram `i` of the batch, from a client. */
  #request(receiving: Receiving, i: number): void {
    const { listener } = receiving;
    this.#readKey(receiving, i);
    let f = this.#flows.find(listener, this.#key);
    if (f < 0) {
      f = this.#begin(receiving);
    } else {
      const list = this.#flows.list[f];
      if (list !== undefined) this.#flows.touch(f, list, this.loop.nowMs);
    }
    if (f < 0) listener.datagramsDropped += 1;
    else this.#requests.queue(f, i);
  }

  #readKey({ family, wildcard }: Receiving, i: number): void {
    const key = this.#key;
    const { messages } = this.#requests;
    const { words } = messages.peers;
    const at = i * SOCKADDR_WORDS;
    const count = family === linux.AF_INET6 ? PEER_WORDS : 4;
    for (let word = 0; word < PEER_WORDS; word++) key[word] = word < count ? (words[at + word] ?? 0) : 0;
    if (wildcard) messages.readLocal(i, key, PEER_WORDS);
    else key.fill(0, PEER_WORDS);
  }

  /** A flow for a new client, connected; -1 where no backend can be reached. */
  #begin(receiving: Receiving): number {
    const { listener, unreplied } = receiving;
    if (listener.active >= this.options.maxUdpFlows) {
      // It may end some by itself.
      this.#requests.flush();
      if (listener.active >= this.options.maxUdpFlows) this.#evict(receiving);
    }
    const { nowMs } = this.loop;
    const f = this.#flows.begin(listener, this.#key, unreplied, nowMs);
    listener.active += 1;
    listener.total += 1;
    this.#expireAt = Math.min(this.#expireAt, nowMs + this.options.udpUnrepliedTimeoutMs);
    if (this.#upstreams.connect(f)) return f;
    this.#end(f);
    return -1;
  }

  #flowReady(f: number, generation: number): void {
    const flows = this.#flows;
    if (flows.generation[f] !== generation) return;
    const listener = flows.listener[f];
    const receiving = listener === undefined ? undefined : this.#receiving[listener.index];
    if (listener === undefined || receiving === undefined) return;
    if (this.#replies.receive(f, listener, receiving.family) >= 0) {
      this.#answered(f, receiving);
      return;
    }
    const error = errno();
    if (error !== linux.EAGAIN && error !== linux.EINTR) this.#requests.move(f, error);
  }

  #answered(f: number, { listener, replied }: Receiving): void {
    const flows = this.#flows;
    const { nowMs } = this.loop;
    if (flows.list[f] !== replied) this.#expireAt = Math.min(this.#expireAt, nowMs + this.options.udpTimeoutMs);
    flows.touch(f, replied, nowMs);
    flows.tried[f] = undefined;
    this.#retained.clear(f);
    const target = flows.target[f];
    if (target !== undefined) listener.balancer.succeeded(target);
  }

  /** The longest unused flow of a listener makes room (rule U6). */
  #evict({ unreplied, replied }: Receiving): void {
    const { activeAt } = this.#flows;
    const one = unreplied.head;
    const two = replied.head;
    if (one < 0 && two < 0) return;
    this.#end(two < 0 || (one >= 0 && (activeAt[one] ?? 0) <= (activeAt[two] ?? 0)) ? one : two);
  }

  #expire(nowMs: number): void {
    let next = Number.POSITIVE_INFINITY;
    for (const receiving of this.#receiving) {
      if (receiving === undefined || receiving.listener.active === 0) continue;
      next = Math.min(
        next,
        this.#expireList(receiving.unreplied, this.options.udpUnrepliedTimeoutMs, nowMs),
        this.#expireList(receiving.replied, this.options.udpTimeoutMs, nowMs),
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

  #endWhere({ unreplied, replied }: Receiving, condition: (f: number) => boolean): void {
    for (const { head } of [unreplied, replied]) {
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
