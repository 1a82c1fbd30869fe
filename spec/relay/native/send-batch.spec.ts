/** What becomes of a message that waits in a batch, whatever the kernel says of its sending: rules T5, T7. */
import { expect } from 'chai';
import type { ConnectionBudget } from '../../../lib/relay/budget.js';
import { defaultEngineOptions, type EngineEvents } from '../../../lib/relay/engine.js';
import type { AcceptGate } from '../../../lib/relay/native/accept-gate.js';
import { type Connections, ESTABLISHED, FREE } from '../../../lib/relay/native/connections.js';
import * as flag from '../../../lib/relay/native/flags.js';
import type { Listener } from '../../../lib/relay/native/listener.js';
import type { Loop, Ready } from '../../../lib/relay/native/loop.js';
import type { Pump } from '../../../lib/relay/native/pump.js';
import * as k from '../../../lib/sys/constants.js';
import type { Done } from '../../../lib/sys/ring.js';
import { nativeFault } from '../../support/native.js';

/** Says of each call what a test wants: a number of bytes, which it sends, or an errno. */
class ScriptedRing {
  readonly capacity = 4;
  results: number[] = [];
  readonly #calls: { fd: number; address: number; flags: number; id: number }[] = [];

  constructor(private readonly sendNow: (fd: number, address: number, length: number, flags: number) => void) {}

  send(fd: number, address: number, _length: number, flags: number, id: number): void {
    this.#calls.push({ fd, address, flags, id });
  }

  submit(done: Done): void {
    for (const { fd, address, flags, id } of this.#calls.splice(0)) {
      const result = this.results.shift() ?? 0;
      if (result > 0) this.sendNow(fd, address, result, flags);
      done(id, result);
    }
  }
}

describe('a message in a batch', () => {
  let libc: typeof import('../../../lib/sys/libc.js');
  let sockets: typeof import('../../../lib/sys/socket.js');
  let modules: {
    Connections: typeof import('../../../lib/relay/native/connections.js')['Connections'];
    Pipes: typeof import('../../../lib/relay/native/pipes.js')['Pipes'];
    Pump: typeof import('../../../lib/relay/native/pump.js')['Pump'];
    SendBatch: typeof import('../../../lib/relay/native/send-batch.js')['SendBatch'];
    Memory: typeof import('../../../lib/sys/memory.js')['Memory'];
  };
  let DRAINED: number;
  let BATCHED: number;
  let TARGET_FAILED: number;
  let writeSockaddr: typeof import('../../../lib/sys/sockaddr.js')['writeSockaddr'];
  let ring: ScriptedRing;
  let connections: Connections;
  let pump: Pump;
  let ends: { readonly client: number; readonly backend: number; readonly slot: number };
  const open: number[] = [];

  before(async function () {
    nativeFault(this);
    libc = await import('../../../lib/sys/libc.js');
    sockets = await import('../../../lib/sys/socket.js');
    const { Connections } = await import('../../../lib/relay/native/connections.js');
    const { Pipes } = await import('../../../lib/relay/native/pipes.js');
    const { SendBatch } = await import('../../../lib/relay/native/send-batch.js');
    const { Memory } = await import('../../../lib/sys/memory.js');
    const loaded = await import('../../../lib/relay/native/pump.js');
    ({ DRAINED, BATCHED, TARGET_FAILED } = loaded);
    ({ writeSockaddr } = await import('../../../lib/sys/sockaddr.js'));
    modules = { Connections, Pipes, Pump: loaded.Pump, SendBatch, Memory };
  });

  /** Two ends of a connection; ours does not block. */
  function pair(): { readonly theirs: number; readonly ours: number } {
    const listener = sockets.openListening('127.0.0.1', 0, 8, () => 0);
    const peer = new modules.Memory(32);
    const length = writeSockaddr(peer, 0, '127.0.0.1', sockets.localPort(listener));
    const theirs = libc.socket(k.AF_INET, k.SOCK_STREAM, 0);
    expect(libc.connect(theirs, peer.address, length)).to.equal(0);
    const ours = libc.accept4(listener, 0, 0, k.SOCK_NONBLOCK);
    libc.close(listener);
    open.push(theirs, ours);
    return { theirs, ours };
  }

  beforeEach(() => {
    ring = new ScriptedRing((fd, address, length, flags) =>
      expect(libc.send(fd, address, length, flags)).to.equal(length),
    );
    connections = new modules.Connections(4, () => undefined);
    pump = new modules.Pump(connections, new modules.Pipes(), new modules.SendBatch(ring));
    const [up, down] = [pair(), pair()];
    const slot = connections.begin({} as Listener, up.ours, 0);
    connections.fd[2 * slot + 1] = down.ours;
    connections.flags[2 * slot + 1] = flag.OUT;
    ends = { client: up.theirs, backend: down.theirs, slot };
  });

  afterEach(() => {
    for (const fd of open.splice(0)) libc.close(fd);
  });

  /** The client says `text`, and it is taken into the batch. */
  function take(text: string): void {
    const s = 2 * ends.slot;
    write(ends.client, text);
    connections.flags[s] = (connections.flags[s] ?? 0) | flag.IN;
    pump.batching = true;
    expect(pump.turn(s)).to.equal(BATCHED);
    expect(connections.pending[s]).to.equal(text.length);
    expect(pump.waiting).to.be.above(0);
    // Whatever happens before the flush: nothing overtakes it.
    expect(pump.turn(s)).to.equal(BATCHED);
  }

  function write(fd: number, text: string): void {
    const memory = new modules.Memory(text.length);
    memory.bytes.set(Buffer.from(text));
    expect(libc.send(fd, memory.address, text.length, 0)).to.equal(text.length);
  }

  /** All that stands in the socket of the backend. */
  function arrived(): string {
    const into = new modules.Memory(65_536);
    let text = '';
    for (;;) {
      const length = libc.recv(ends.backend, into.address, 65_536, k.MSG_DONTWAIT);
      if (length <= 0) return text;
      text += Buffer.from(into.bytes.subarray(0, length)).toString();
    }
  }

  function flush(...results: number[]): (readonly [number, number])[] {
    ring.results = results;
    const told: (readonly [number, number])[] = [];
    pump.flush((s, result) => told.push([s, result]));
    return told;
  }

  it('is sent whole, and counted', () => {
    take('whole');
    expect(arrived()).to.equal('');
    expect(flush(5)).to.deep.equal([[2 * ends.slot, DRAINED]]);
    expect(arrived()).to.equal('whole');
    expect([connections.pending[2 * ends.slot], connections.bytes[2 * ends.slot]]).to.deep.equal([0, 5]);
  });

  it('is finished at once where only a part was taken (T7)', () => {
    take('in two parts');
    expect(flush(3)).to.deep.equal([[2 * ends.slot, DRAINED]]);
    expect(arrived()).to.equal('in two parts');
    expect([connections.pending[2 * ends.slot], connections.bytes[2 * ends.slot]]).to.deep.equal([0, 12]);
  });

  it('is sent at once where the ring did not take it', () => {
    take('canceled');
    expect(flush(-k.ECANCELED)).to.deep.equal([[2 * ends.slot, DRAINED]]);
    expect(arrived()).to.equal('canceled');
  });

  it('waits for room where there is none, and nothing more is read meanwhile (T5)', () => {
    take('late');
    const s = 2 * ends.slot;
    const filler = new modules.Memory(65_536);
    let filled = 0;
    for (;;) {
      const took = libc.send(connections.fd[s + 1] ?? -1, filler.address, 65_536, k.MSG_DONTWAIT);
      if (took < 0) break;
      filled += took;
    }
    expect(flush(-k.EAGAIN)).to.deep.equal([[s, DRAINED]]);
    expect(connections.pending[s]).to.equal(4);
    expect((connections.flags[s + 1] ?? 0) & flag.OUT).to.equal(0);
    write(ends.client, ', later');
    connections.flags[s] = (connections.flags[s] ?? 0) | flag.IN;
    expect([pump.turn(s), connections.pending[s], pump.waiting]).to.deep.equal([DRAINED, 4, 0]);
    let text = arrived();
    connections.flags[s + 1] = (connections.flags[s + 1] ?? 0) | flag.OUT;
    pump.batching = false;
    expect(pump.turn(s)).to.equal(DRAINED);
    text += arrived();
    expect(text.slice(filled)).to.equal('late, later');
  });

  it('tells of a target that has failed, and forgets what it had for it', () => {
    take('for nobody');
    expect(flush(-k.EPIPE)).to.deep.equal([[2 * ends.slot, TARGET_FAILED]]);
    expect([connections.pending[2 * ends.slot], connections.bytes[2 * ends.slot]]).to.deep.equal([0, 0]);
  });

  it('is not told of where its connection was ended by an earlier one of the batch', () => {
    take('x');
    const told: number[] = [];
    connections.end(ends.slot);
    ring.results = [1];
    pump.flush((s) => told.push(s));
    expect(told).to.deep.equal([]);
  });

  it('says when no other has room', () => {
    const s = 2 * ends.slot;
    for (let count = 0; count < ring.capacity; count++) {
      expect(pump.full).to.equal(false);
      take('x');
      // As if they were of different connections.
      connections.flags[s] = (connections.flags[s] ?? 0) & ~flag.BATCHED;
      connections.pending[s] = 0;
    }
    expect(pump.full).to.equal(true);
  });

  it('does not wait where it is large, or where nothing else is ready', () => {
    const s = 2 * ends.slot;
    pump.batching = false;
    write(ends.client, 'alone');
    connections.flags[s] = (connections.flags[s] ?? 0) | flag.IN;
    expect([pump.turn(s), pump.waiting, arrived()]).to.deep.equal([DRAINED, 0, 'alone']);
    const large = 'l'.repeat(20_000);
    write(ends.client, large);
    connections.flags[s] = (connections.flags[s] ?? 0) | flag.IN;
    pump.batching = true;
    // Its first part is no small message, and the rest goes the same way.
    expect([pump.turn(s), pump.waiting]).to.deep.equal([DRAINED, 0]);
    expect(arrived()).to.equal(large);
  });

  it('is delivered before an RST, though it waits for a FIN to ride with (T4)', async () => {
    const { TcpRelay } = await import('../../../lib/relay/native/tcp-relay.js');
    const { TCP_SOCKET } = await import('../../../lib/relay/native/loop.js');
    let ready: Ready = () => undefined;
    const loop = {
      nowMs: performance.now(),
      ready: 2,
      handle: (kind: number, handler: Ready) => {
        if (kind === TCP_SOCKET) ready = handler;
      },
    } as unknown as Loop;
    const batch = new modules.SendBatch(ring);
    const outside = { paused: false, log: () => undefined, give: () => undefined };
    const relay = new TcpRelay(
      loop,
      outside as unknown as AcceptGate,
      outside as unknown as EngineEvents,
      defaultEngineOptions,
      outside as unknown as ConnectionBudget,
      () => undefined,
      batch,
    );
    const [up, down] = [pair(), pair()];
    // The relay closes its own ends.
    open.splice(open.indexOf(up.ours), 1);
    open.splice(open.indexOf(down.ours), 1);
    const slot = relay.connections.begin({ active: 1, outcomes: [] } as unknown as Listener, up.ours, 0);
    const [a, b] = [2 * slot, 2 * slot + 1];
    relay.connections.state[slot] = ESTABLISHED;
    relay.connections.fd[b] = down.ours;
    relay.connections.flags[b] = flag.OUT;
    const generation = relay.connections.generation[a] ?? 0;
    write(up.theirs, 'the next question');
    write(down.theirs, 'the answer');
    expect(libc.shutdown(down.theirs, k.SHUT_WR)).to.equal(0);
    ready(a, generation, k.EPOLLIN | k.EPOLLOUT);
    ready(b, generation, k.EPOLLIN | k.EPOLLOUT | k.EPOLLRDHUP);
    expect(batch.size).to.equal(2);
    // The backend resets the connection at this very moment.
    ring.results = [-k.EPIPE, 'the answer'.length];
    relay.afterBatch(performance.now());
    expect(relay.connections.state[slot]).to.equal(FREE);
    const into = new modules.Memory(64);
    const length = libc.recv(up.theirs, into.address, 64, k.MSG_DONTWAIT);
    expect(Buffer.from(into.bytes.subarray(0, Math.max(0, length))).toString()).to.equal('the answer');
    expect(libc.recv(up.theirs, into.address, 64, k.MSG_DONTWAIT)).to.equal(-1);
    expect(libc.errno()).to.equal(k.ECONNRESET);
  });
});
