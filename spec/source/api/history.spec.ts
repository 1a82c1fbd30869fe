import { expect } from 'chai';
import fc from 'fast-check';
import { ApiServer, status } from '../../support/api-server/api-server.js';
import type { TypeName } from '../../support/api-server/history.js';
import { requires } from '../../support/requires.js';
import { until } from '../../support/until.js';
import { serviceJson } from '../objects/kube-json.js';
import { type Following, fastTimers, follow, slice } from './support.js';

const FOLLOWED = ['services', 'slices'] as const satisfies readonly TypeName[];

/** What may happen at the server, or between it and us; `n` chooses among objects and watches. */
type Step = readonly [kind: keyof typeof STEPS, n: number];

const STEPS = {
  putSlice: (server: ApiServer, n: number) =>
    server.history.put('slices', slice(`s${n % 4}`, `10.0.${n % 4}.${n % 7}`, `10.0.9.${n % 5}`)),
  deleteSlice: (server: ApiServer, n: number) => server.history.delete('slices', `work/s${n % 4}`),
  putService: (server: ApiServer, n: number) =>
    server.history.put(
      'services',
      serviceJson({ ports: [{ port: 1_000 + (n % 9) }] }, { metadata: { name: `w${n % 4}`, namespace: 'work' } }),
    ),
  hideService: (server: ApiServer, n: number) => {
    const labels = { 'service.kubernetes.io/service-proxy-name': 'another' };
    server.history.put('services', serviceJson({}, { metadata: { name: `w${n % 4}`, namespace: 'work', labels } }));
  },
  deleteService: (server: ApiServer, n: number) => server.history.delete('services', `work/w${n % 4}`),
  skip: (server: ApiServer, n: number) => server.history.skip(n),
  bookmark: (server: ApiServer, n: number) => watchOf(server, n)?.bookmark(server.history.version),
  compact: (server: ApiServer) => server.history.compact(),
  reset: (server: ApiServer, n: number) => watchOf(server, n)?.reset(),
  end: (server: ApiServer, n: number) => watchOf(server, n)?.end(),
  truncate: (server: ApiServer, n: number) => watchOf(server, n)?.truncate(),
  garbage: (server: ApiServer, n: number) => watchOf(server, n)?.raw('{"type":"MODIFIED"}\n'),
  gone: (server: ApiServer, n: number) => watchOf(server, n)?.gone(),
  streamError: (server: ApiServer, n: number) => watchOf(server, n)?.error({ code: 500, message: 'scripted' }),
  repeat: (server: ApiServer, n: number) => watchOf(server, n)?.repeat(),
  freeze: (server: ApiServer, n: number) => watchOf(server, n)?.freeze(),
  fail500: (server: ApiServer, n: number) => server.fail({ action: { status: 500 }, times: n % 3 }),
  fail429: (server: ApiServer) => server.fail({ action: { status: 429, headers: { 'Retry-After': '1' } } }),
  fail410: (server: ApiServer) => server.fail({ action: { status: 410, body: status(410, 'Expired', 'old') } }),
  cutList: (server: ApiServer) => server.fail({ action: 'cut' }),
  resetRequest: (server: ApiServer) => server.fail({ action: 'reset' }),
  noStreams: (server: ApiServer, n: number) => {
    server.streams = n % 2 === 0;
  },
  restart: async (server: ApiServer) => {
    await server.down();
    await server.up();
  },
  /** A backup from before: at a version of its own, and without what came since. */
  restore: async (server: ApiServer, n: number) => {
    await server.down();
    server.history = server.history.restored(100 + n);
    server.history.delete('slices', `work/s${n % 4}`);
    server.history.delete('services', `work/w${n % 4}`);
    await server.up();
  },
  settle: () => new Promise((resolve) => setTimeout(resolve, 3)),
} as const;

function watchOf(server: ApiServer, n: number) {
  const watches = FOLLOWED.flatMap((type) => server.watches(type));
  return watches[n % watches.length];
}

/** Services with their ports, slices with their addresses: the store as text. */
function contents({ store }: Following): string {
  const services = [...store.services()].map(({ key, ports }) => `${key} ${ports.map(({ port }) => port)}`);
  const slices = store
    .slicesOf('work/saythx-redis')
    .map(({ key, endpoints }) => `${key} ${[...endpoints].map(({ address }) => address)}`);
  return [...services, ...slices].sort().join('\n');
}

describe('following whatever happens (Y4)', function () {
  this.timeout(120_000);

  before(function () {
    requires(this, 'openssl');
  });

  const step: fc.Arbitrary<Step> = fc.tuple(
    fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom('putSlice', 'deleteSlice', 'putService', 'deleteService') },
      { weight: 4, arbitrary: fc.constantFrom(...(Object.keys(STEPS) as (keyof typeof STEPS)[])) },
      { weight: 1, arbitrary: fc.constant('settle') },
    ),
    fc.nat(40),
  );

  it('ends where a fresh list begins, and keeps no endpoint that is gone', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const server = await ApiServer.start();
        STEPS.putService(server, 0);
        STEPS.putSlice(server, 0);
        const following = await follow(server, { timers: fastTimers(1_000) });
        let fresh: Following | undefined;
        try {
          for (const [kind, n] of steps) await STEPS[kind](server, n);
          server.heal();
          server.streams = true;
          const last = await follow(server, { timers: fastTimers(1_000) });
          fresh = last;
          await until('the fresh list', () => last.store.isSynced);
          const expected = contents(last);
          const isSame = () => following.store.isSynced && contents(following) === expected;
          await until('the same as a fresh list', isSame, 10_000).catch(() => {
            expect([following.store.isSynced, contents(following)]).to.deep.equal([true, expected]);
          });
        } finally {
          await following.stop();
          await fresh?.stop();
          await server.close();
        }
      }),
      { numRuns: Number(process.env['KPROXY_US_HISTORY_RUNS'] ?? 60), endOnFailure: true },
    );
  });
});
