import { expect } from 'chai';
import { type ApiServer, type SeenRequest, status } from '../../support/api-server/api-server.js';
import { requires } from '../../support/requires.js';
import { until } from '../../support/until.js';
import { serviceJson } from '../objects/kube-json.js';
import { type Following, type FollowOptions, follow, seededServer, slice } from './support.js';

const isSlices = ({ url }: SeenRequest) => url.pathname.endsWith('/endpointslices');
const isWatch = ({ url }: SeenRequest) => url.searchParams.get('watch') === 'true';
const isSliceWatch = (request: SeenRequest) => isSlices(request) && isWatch(request);

describe('following the API server (Y4)', () => {
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

  it('is synced when Services and slices are listed, and not before (Y1)', async () => {
    server.fail({ when: isSlices, action: { status: 500 }, times: 4 });
    following = await follow(server);
    const { store } = following;
    await until('the Services', () => store.service('work/saythx-redis'));
    await until('refused lists of slices', () => server.requests.filter(isSlices).length >= 3);
    expect(store.isSynced).to.equal(false);
    await until('the first lists', () => store.isSynced);
    expect(following.addresses()).to.equal('10.0.0.1');
  });

  it('lists first at version 0 in pages, then watches from there with bookmarks and a random end', async () => {
    await started({ random: () => 0.5 });
    const [list] = server.asked('slices', 'list');
    expect([list?.get('resourceVersion'), list?.get('limit')]).to.deep.equal(['0', '500']);
    const watch = server.asked('slices', 'watch').at(-1);
    expect(watch?.get('resourceVersion')).to.equal(`${server.history.version}`);
    expect([watch?.get('allowWatchBookmarks'), watch?.get('timeoutSeconds')]).to.deep.equal(['true', '450']);
  });

  it('asks only for the Services and slices that are ours, and for our Node (S1)', async () => {
    await started();
    const labels = '!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name';
    expect(server.asked('services', 'list')[0]?.get('labelSelector')).to.equal(labels);
    expect(server.asked('slices', 'watch').at(-1)?.get('labelSelector')).to.equal(labels);
    expect(server.asked('nodes', 'list')[0]?.get('fieldSelector')).to.equal('metadata.name=node-a');
    expect(following?.store.node('node-a')).to.include({ name: 'node-a' });
  });

  it('asks by name for the Services of a proxy with a name (S1)', async () => {
    await started({ serviceProxyName: 'ours' });
    const [list] = server.asked('services', 'list');
    expect(list?.get('labelSelector')).to.equal(
      '!service.kubernetes.io/headless,service.kubernetes.io/service-proxy-name=ours',
    );
  });

  it('takes up what is added, changed, deleted, and what leaves the selection', async () => {
    const { store } = await started();
    server.history.put('slices', slice('a', '10.0.0.1', '10.0.0.2'));
    await shows('10.0.0.1 10.0.0.2');
    server.history.put('slices', slice('b', '10.0.0.3'));
    await shows('10.0.0.1 10.0.0.2 10.0.0.3');
    server.history.delete('slices', 'work/a');
    await shows('10.0.0.3');
    const labels = { 'service.kubernetes.io/service-proxy-name': 'another' };
    server.history.put('services', serviceJson({}, { metadata: { name: 'saythx-redis', namespace: 'work', labels } }));
    await until('the Service to be gone', () => store.service('work/saythx-redis') === undefined);
  });

  it('reads a list of many pages whole', async () => {
    for (let index = 0; index < 1_200; index++) {
      server.history.put('services', serviceJson({}, { metadata: { name: `web-${index}`, namespace: 'work' } }));
    }
    await started();
    expect([...(following?.store.services() ?? [])]).to.have.length(1_201);
    const lists = server.asked('services', 'list');
    expect(lists.map((list) => [list.get('limit'), list.has('continue'), list.has('resourceVersion')])).to.deep.equal([
      ['500', false, true],
      ['500', true, false],
      ['500', true, false],
    ]);
  });

  it('lists the latest in one piece when a page has expired', async () => {
    for (let index = 0; index < 600; index++) {
      server.history.put('services', serviceJson({}, { metadata: { name: `web-${index}`, namespace: 'work' } }));
    }
    const isNextPage = ({ url }: SeenRequest) => url.searchParams.has('continue');
    server.fail({ when: isNextPage, action: { status: 410, body: status(410, 'Expired', 'too old') } });
    await started();
    expect([...(following?.store.services() ?? [])]).to.have.length(601);
    const last = server.asked('services', 'list').at(-1);
    expect([last?.get('limit'), last?.get('resourceVersion')]).to.deep.equal([null, null]);
  });

  it('resumes a watch that ended from the last event, without a list', async () => {
    await started();
    server.history.put('slices', slice('b', '10.0.0.2'));
    await shows('10.0.0.1 10.0.0.2');
    const { version } = server.history;
    server.watches('slices')[0]?.end();
    await until('another watch', () => server.asked('slices', 'watch').length >= 3);
    expect(server.asked('slices', 'watch').at(-1)?.get('resourceVersion')).to.equal(`${version}`);
    expect(server.asked('slices', 'list')).to.have.length(1);
  });

  it('resumes from the last bookmark', async () => {
    await started();
    server.history.skip(900);
    const { version } = server.history;
    server.watches('slices')[0]?.bookmark(version);
    await until('the bookmark', () => server.watches('slices')[0]?.sent === 1);
    server.watches('slices')[0]?.end();
    await until(
      'a watch from there',
      () => server.asked('slices', 'watch').at(-1)?.get('resourceVersion') === `${version}`,
    );
  });

  it('misses nothing that happened between two watches', async () => {
    await started();
    server.fail({ when: isSliceWatch, action: { status: 503 }, times: 3 });
    server.watches('slices')[0]?.reset();
    server.history.put('slices', slice('b', '10.0.0.2'));
    server.history.delete('slices', 'work/a');
    await shows('10.0.0.2');
    expect(server.asked('slices', 'list')).to.have.length(1);
  });

  for (const [title, expire] of [
    [
      'by HTTP',
      () => server.fail({ when: isSliceWatch, action: { status: 410, body: status(410, 'Expired', 'old') } }),
    ],
    ['in the stream', () => server.history.compact()],
  ] as const) {
    it(`lists anew after 410 ${title}, and derives what was deleted`, async () => {
      await started();
      server.watches('slices')[0]?.freeze();
      server.history.put('slices', slice('b', '10.0.0.2'));
      server.history.delete('slices', 'work/a');
      expire();
      server.watches('slices')[0]?.end();
      await shows('10.0.0.2');
      expect(server.asked('slices', 'list').length).to.be.greaterThan(1);
    });
  }

  it('lists anew after an ERROR 410 in a watch that worked', async () => {
    await started();
    const [watch] = server.watches('slices');
    server.history.put('slices', slice('b', '10.0.0.2'));
    await shows('10.0.0.1 10.0.0.2');
    watch?.gone();
    await until('another list', () => server.asked('slices', 'list').length === 2);
    await shows('10.0.0.1 10.0.0.2');
  });

  for (const code of [500, 429]) {
    it(`goes on after an ERROR ${code} in the stream`, async () => {
      await started();
      server.watches('slices')[0]?.error({ code, reason: 'InternalError', message: 'scripted' });
      await until('another watch', () => server.watches('slices').length === 1);
      server.history.put('slices', slice('b', '10.0.0.2'));
      await shows('10.0.0.1 10.0.0.2');
    });
  }

  it('drops an event that broke off, and gets it again', async () => {
    await started();
    server.watches('slices')[0]?.truncate();
    server.history.put('slices', slice('b', '10.0.0.2'));
    await shows('10.0.0.1 10.0.0.2');
  });

  it('lists anew where events are garbage again and again', async () => {
    await started();
    for (let round = 0; round < 3; round++) {
      const watch = await until('a watch', () => server.watches('slices')[0]);
      watch.raw('no JSON at all\n');
      await until('it to be given up', () => !watch.isOpen);
    }
    await until('another list', () => server.asked('slices', 'list').length >= 2);
    server.history.put('slices', slice('b', '10.0.0.2'));
    await shows('10.0.0.1 10.0.0.2');
  });

  it('takes up the events before a bad one, and resumes after them', async () => {
    await started();
    const [watch] = server.watches('slices');
    const version = `${server.history.version + 1}`;
    const object = slice('b', '10.0.0.2');
    const metadata = { ...(object['metadata'] as object), resourceVersion: version };
    watch?.raw(`${JSON.stringify({ type: 'ADDED', object: { ...object, metadata } })}\n{"type":"ODD"}\n`);
    await shows('10.0.0.1 10.0.0.2');
    await until('a watch from there', () => server.asked('slices', 'watch').at(-1)?.get('resourceVersion') === version);
  });

  it('gives up a line without an end before it fills the memory', async () => {
    await started();
    const [watch] = server.watches('slices');
    const piece = 'x'.repeat(1 << 20);
    for (let sent = 0; sent < 20 && watch?.isOpen; sent++) watch.raw(piece);
    await until('it to be given up', () => watch?.isOpen === false);
    await until('another watch', () => server.watches('slices').length === 1);
  });

  it('takes up an event that comes twice, once', async () => {
    const { store } = await started();
    const told: string[] = [];
    store.subscribe({
      serviceChanged: (service, kind) => told.push(`${kind} ${service}`),
      nodeChanged: () => undefined,
      synced: () => undefined,
    });
    server.history.put('slices', slice('b', '10.0.0.2'));
    await shows('10.0.0.1 10.0.0.2');
    server.watches('slices')[0]?.repeat();
    server.history.put('slices', slice('c', '10.0.0.3'));
    await shows('10.0.0.1 10.0.0.2 10.0.0.3');
    expect(told).to.deep.equal(['endpoints work/saythx-redis', 'endpoints work/saythx-redis']);
  });

  it('shows an endpoint that moves to another slice in no moment missing, in whatever order they come (S5)', async () => {
    const { store } = await started();
    const seen: string[] = [];
    store.subscribe({
      serviceChanged: () => seen.push(following?.addresses() ?? ''),
      nodeChanged: () => undefined,
      synced: () => undefined,
    });
    const [watch] = server.watches('slices');
    const moved = (name: string, version: number, ...addresses: string[]) =>
      JSON.stringify({ type: 'MODIFIED', object: slice(name, ...addresses) }).replace(
        '"metadata":{',
        `"metadata":{"resourceVersion":"${version}",`,
      );
    const { version } = server.history;
    watch?.raw(`${moved('a', version + 1)}\n${moved('b', version + 2, '10.0.0.1')}\n`);
    await until('the change', () => seen.length > 0);
    expect(seen).to.deep.equal(['10.0.0.1']);
  });

  it('reads a list that arrives in the smallest pieces', async () => {
    server.history.put('slices', slice('ü-is-no-name', '10.0.0.5'));
    server.history.put(
      'services',
      serviceJson({}, { metadata: { name: 'b', namespace: 'work', annotations: { x: '"{ü€😀\\' } } }),
    );
    server.fail({ action: 'slow', times: 4 });
    await started();
    expect(following?.services()).to.equal('work/b work/saythx-redis');
  });

  it('keeps the last good version of an object that went bad, and says so once (C2)', async () => {
    const { store, lines } = await started();
    server.history.put('services', serviceJson({ ports: [{ port: 0 }] }));
    server.history.put('services', serviceJson({}, { metadata: { name: 'other', namespace: 'work' } }));
    await until('the good one', () => store.service('work/other'));
    await following?.source.reload();
    await until(
      'another list',
      () => server.asked('services', 'list').length === 2 && server.watches('services').length === 1,
    );
    expect(store.service('work/saythx-redis')?.ports[0]?.port).to.equal(6379);
    const said = lines.filter(({ message }) => message === 'fault in an object of the API server');
    expect(said).to.have.length(1);
    expect(said[0]?.fields['fault']).to.contain('spec.ports[0].port');
  });

  it('refuses endpoints that lead into the node (C2)', async () => {
    await started();
    server.history.put('slices', slice('b', '127.0.0.1'));
    server.history.put('slices', slice('c', '10.0.0.3'));
    await shows('10.0.0.1 10.0.0.3');
  });

  it('uses Endpoints where slices are not served, and slices when they are (S3)', async () => {
    server.without = ['slices'];
    const subsets = [{ addresses: [{ ip: '10.0.0.8' }], ports: [{ name: 'redis', port: 6379 }] }];
    server.history.put('endpoints', { metadata: { name: 'saythx-redis', namespace: 'work' }, subsets });
    following = await follow(server);
    const { store } = following;
    await until('the first lists', () => store.isSynced);
    await shows('10.0.0.8');
    server.without = [];
    await shows('10.0.0.1');
    await until('the fall-back to end', () => server.watches('endpoints').length === 0);
  });

  it('makes all requests of a resource over few connections', async () => {
    for (let index = 0; index < 3_000; index++) {
      server.history.put('services', serviceJson({}, { metadata: { name: `web-${index}`, namespace: 'work' } }));
    }
    await started();
    expect(server.requests.length).to.be.greaterThan(8);
    // One for each watch, at most one more for the requests beside them.
    expect(server.connections).to.be.lessThan(5);
  });

  it('refuses a name of a proxy that would select something else (C1)', async () => {
    const failure = await follow(server, { serviceProxyName: 'a,b' }).catch((error: Error) => error);
    expect(failure)
      .to.include({ code: 'BAD_CONFIG' })
      .with.property('message')
      .that.matches(/^--service-proxy-name: "a,b"/);
  });

  it('lists everything anew when asked to (SIGHUP)', async () => {
    await started();
    await following?.source.reload();
    await until('another list', () => server.asked('slices', 'list').length === 2);
    expect(server.asked('slices', 'list')[1]?.get('resourceVersion')).to.equal(null);
  });
});
