import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { type ApiServer, type SeenRequest, status } from '../../support/api-server/api-server.js';
import { requires } from '../../support/requires.js';
import { until } from '../../support/until.js';
import { type Following, type FollowOptions, follow, ManualTimers, seededServer, slice } from './support.js';

const isSlices = ({ url }: SeenRequest) => url.pathname.endsWith('/endpointslices');
const isWatch = ({ url }: SeenRequest) => url.searchParams.get('watch') === 'true';
const isSliceList = (request: SeenRequest) => isSlices(request) && !isWatch(request);

describe('following an API server in trouble (Y4, Y5)', () => {
  let server: ApiServer;
  let following: Following | undefined;

  before(function () {
    requires(this, 'openssl');
  });

  beforeEach(async () => {
    server = await seededServer();
  });

  afterEach(async () => {
    await following?.stop();
    following = undefined;
    await server.close();
  });

  async function started(options: FollowOptions = {}): Promise<Following> {
    following = await follow(server, options);
    const { store } = following;
    await until('the first lists', () => store.isSynced);
    await until('the watches', () => server.watches('slices').length === 1 && server.watches('services').length === 1);
    return following;
  }

  async function shows(addresses: string): Promise<void> {
    await until(`endpoints ${addresses}`, () => following?.addresses() === addresses);
  }

  it('lists the latest where the server came back with another history, and drops what that does not have', async () => {
    server.history.skip(5_000);
    await started();
    const before = server.history;
    await server.down();
    server.history = before.restored(200);
    server.history.delete('slices', 'work/a');
    server.history.put('slices', slice('b', '10.0.0.7'));
    await until('a long absence', () => server.requests.length > 0 && attempts() >= 6, 10_000);
    await server.up();
    await shows('10.0.0.7');
    expect(server.history.version).to.be.lessThan(before.version);
  });

  function attempts(): number {
    const failed = following?.lines.filter(({ message }) => message.startsWith('cannot follow')) ?? [];
    return failed.filter(({ fields }) => String(fields['resource']).startsWith('endpointslices')).length;
  }

  it('keeps everything while the server is away, and follows when it is back (Y5)', async () => {
    const { store } = await started();
    await server.down();
    await until('failures', () => attempts() >= 4);
    expect(following?.addresses()).to.equal('10.0.0.1');
    expect(store.service('work/saythx-redis')).to.not.equal(undefined);
    server.history.put('slices', slice('b', '10.0.0.2'));
    await server.up();
    await shows('10.0.0.1 10.0.0.2');
    expect(following?.lines.some(({ message }) => message === 'following the API server again')).to.equal(true);
  });

  it('keeps what it knows where a list breaks off, or is no list', async () => {
    await started();
    const wrong = [{ status: 200, body: {} }, { status: 200, body: { kind: 'Status' } }, 'cut', 'reset'] as const;
    for (const action of wrong) server.fail({ when: isSliceList, action });
    server.history.compact();
    server.history.put('slices', slice('b', '10.0.0.2'));
    server.history.compact();
    const seen = new Set<string>();
    following?.store.subscribe({
      serviceChanged: () => seen.add(following?.addresses() ?? ''),
      nodeChanged: () => undefined,
      synced: () => undefined,
    });
    await following?.source.reload();
    await shows('10.0.0.1 10.0.0.2');
    expect([...seen]).to.deep.equal(['10.0.0.1 10.0.0.2']);
    expect(server.requests.filter(isSliceList)).to.have.length(1 + wrong.length + 1);
  });

  it('goes on where a listener of the store throws', async () => {
    const { store, lines } = await started();
    store.subscribe({
      serviceChanged: () => {
        throw new Error('a bug');
      },
      nodeChanged: () => undefined,
      synced: () => undefined,
    });
    server.history.put('slices', slice('b', '10.0.0.2'));
    server.history.put('slices', slice('c', '10.0.0.3'));
    await shows('10.0.0.1 10.0.0.2 10.0.0.3');
    expect(lines.some(({ level, message }) => level === 'error' && message.startsWith('a change'))).to.equal(true);
  });

  it('names a missing permission once: verb, resource and what is lost', async () => {
    const body = status(403, 'Forbidden', 'endpointslices.discovery.k8s.io is forbidden');
    server.fail({ when: isSlices, action: { status: 403, body }, times: 4 });
    following = await follow(server);
    const { store, lines } = following;
    await until('the permission', () => store.isSynced, 20_000);
    const said = lines.filter(({ level }) => level === 'error');
    expect(said).to.have.length(1);
    expect(said[0]?.fields).to.include({
      verb: 'list',
      resource: 'endpointslices.discovery.k8s.io',
      lost: 'the backends of Services',
    });
  });

  it('gives up a connection that says nothing for too long, and resumes on another', async () => {
    await started();
    const [watch] = server.watches('slices');
    watch?.freeze();
    server.history.put('slices', slice('b', '10.0.0.2'));
    await shows('10.0.0.1 10.0.0.2');
    expect(watch?.isOpen).to.equal(false);
  });

  it('keeps a connection on which something comes from time to time', async () => {
    const timers = new ManualTimers();
    server.streams = true;
    following = await follow(server, { timers });
    await shows('10.0.0.1');
    for (const address of ['10.0.0.2', '10.0.0.3', '10.0.0.4']) {
      timers.advance(149_000);
      server.history.put('slices', slice('a', address));
      await shows(address);
    }
    expect(server.asked('slices', 'watch')).to.have.length(1);
  });

  it('has the kernel probe the connections of its watches: a peer that vanished says nothing', async () => {
    server.streams = true;
    await started();
    const port = Number(new URL(server.url).port).toString(16).toUpperCase().padStart(4, '0');
    await until('three connections with a keepalive timer', async () => {
      const lines = (await readFile('/proc/net/tcp', 'utf8')).split('\n').map((line) => line.trim().split(/\s+/));
      // rem_address, st (01: established), tr (02: keepalive).
      const ours = lines.filter(([, , peer, state]) => peer?.endsWith(`:${port}`) && state === '01');
      return ours.length >= 3 && ours.every(([, , , , , timer]) => timer?.startsWith('02:'));
    });
  });

  it('does not wait for ever for an answer', async () => {
    server.fail({ action: 'hang', times: 3 });
    await started();
    expect(following?.addresses()).to.equal('10.0.0.1');
  });

  it('waits as long as Retry-After says', async () => {
    const timers = new ManualTimers();
    server.fail({ when: isSlices, action: { status: 429, headers: { 'Retry-After': '17' } } });
    following = await follow(server, { timers });
    const { store, lines } = following;
    const said = await until('the refusal', () => lines.find(({ message }) => message.startsWith('cannot follow')));
    expect(said.fields['retryInMs']).to.equal(17_000);
    timers.advance(16_999);
    expect(server.requests.filter(isSlices)).to.have.length(1);
    timers.advance(1);
    await until('the first lists', () => store.isSynced);
  });

  it('comes back after a storm of every refusal', async () => {
    const codes = [500, 502, 503, 429, 403, 404, 400, 401, 409, 418, 301, 204];
    for (const code of codes) server.fail({ when: isSlices, action: { status: code } });
    following = await follow(server);
    const { store } = following;
    await until('the first lists', () => store.isSynced, 9_000);
    server.history.put('slices', slice('b', '10.0.0.2'));
    await shows('10.0.0.1 10.0.0.2');
  });

  it('ends at once, also in the middle of a wait and of a request (Y6)', async () => {
    server.fail({ action: 'hang', times: 100 });
    following = await follow(server, { timers: new ManualTimers() });
    await until('the requests', () => server.requests.length === 3);
    await following.stop();
    following = undefined;
    await until('no connection', async () => new Promise((resolve) => setImmediate(() => resolve(server.open === 0))));
  });

  it('watches on after a long absence where it may not list', async () => {
    await started();
    await server.down();
    const isCheck = ({ url }: SeenRequest) => url.searchParams.get('limit') === '1';
    server.fail({ when: isCheck, action: { status: 403 }, times: 3 });
    await until('a long absence', () => attempts() >= 7, 10_000);
    server.history.put('slices', slice('b', '10.0.0.2'));
    await server.up();
    await shows('10.0.0.1 10.0.0.2');
    expect(server.requests.filter(isCheck).length).to.be.greaterThan(0);
  });
});
