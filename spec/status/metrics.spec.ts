import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Health } from '../../lib/status/health.js';
import { Metrics } from '../../lib/status/metrics.js';
import { ROOT } from '../support/proxy.js';
import { FakeSources, listenerStats } from './fake-sources.js';

function fakeMetrics() {
  const sources = new FakeSources();
  const health = new Health(sources, sources.options.syncPeriodMs);
  return { sources, health, metrics: new Metrics(sources, health) };
}

/** Every series of a scrape: `name{labels}` to its value as written. */
async function scrape(metrics: Metrics): Promise<ReadonlyMap<string, string>> {
  const lines = (await metrics.scrape()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const space = line.lastIndexOf(' ');
      return [line.slice(0, space), line.slice(space + 1)];
    }),
  );
}

const WEB = 'namespace="default",service="web",port="http",protocol="TCP"';
const DNS = 'namespace="kube-system",service="dns",port="",protocol="UDP"';
const web = { namespace: 'default', service: 'web', port: 'http', protocol: 'TCP' } as const;
const dns = { namespace: 'kube-system', service: 'dns', port: '', protocol: 'UDP' } as const;

describe('docs/metrics.md', () => {
  it('lists every metric of kube-proxy and of ours, with its type, and no other', async () => {
    const { metrics, sources } = fakeMetrics();
    sources.stats = { ...sources.stats, listeners: [listenerStats({ servicePort: web, outcomes: { closed: 1 } })] };
    const types = [...(await metrics.scrape()).matchAll(/^# TYPE (kubeproxy_\S+|kproxy_us_\S+) (\S+)$/gm)];
    const doc = readFileSync(join(ROOT, 'docs/metrics.md'), 'utf8');
    const rows = [...doc.matchAll(/^\| `(\w+)` \| (\w+) \|/gm)];
    const named = (found: RegExpMatchArray[]) => found.map(([, name, type]) => `${name} ${type}`).toSorted();
    expect(named(rows)).to.deep.equal(named(types));
  });
});

describe('metrics', () => {
  it("bear kube-proxy's names (H4)", async () => {
    const { metrics, sources, health } = fakeMetrics();
    Object.assign(sources.sync, {
      lastSyncedAtMs: 1_700_000_000_500,
      lastQueuedAtMs: 1_700_000_000_000,
      serviceChangesPending: 1,
      serviceChangesTotal: 2,
      endpointChangesPending: 3,
      endpointChangesTotal: 4,
      noLocalEndpoints: { internal: 5, external: 6 },
    });
    health.replyHealthz();
    health.replyLivez();
    const series = await scrape(metrics);
    for (const [name, value] of [
      ['kubeproxy_sync_proxy_rules_last_timestamp_seconds', '1700000000.5'],
      ['kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds', '1700000000'],
      ['kubeproxy_sync_proxy_rules_service_changes_pending', '1'],
      ['kubeproxy_sync_proxy_rules_service_changes_total', '2'],
      ['kubeproxy_sync_proxy_rules_endpoint_changes_pending', '3'],
      ['kubeproxy_sync_proxy_rules_endpoint_changes_total', '4'],
      ['kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy="internal"}', '5'],
      ['kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy="external"}', '6'],
      ['kubeproxy_proxy_healthz_total{code="200"}', '1'],
      ['kubeproxy_proxy_livez_total{code="200"}', '1'],
    ] as const) {
      expect(series.get(name), name).to.equal(value);
    }
  });

  it("observe syncs in kube-proxy's buckets (H4)", async () => {
    const { metrics, sources } = fakeMetrics();
    for (const observe of sources.observers) observe(3, [400, 130_000]);
    const series = await scrape(metrics);
    const sync = 'kubeproxy_sync_proxy_rules_duration_seconds';
    expect(series.get(`${sync}_bucket{le="0.002"}`)).to.equal('0');
    expect(series.get(`${sync}_bucket{le="0.004"}`)).to.equal('1');
    expect(series.get(`${sync}_bucket{le="16.384"}`)).to.equal('1');
    expect([...series.keys()].filter((name) => name.startsWith(`${sync}_bucket`))).to.have.length(16);
    const programming = 'kubeproxy_network_programming_duration_seconds';
    expect(series.get(`${programming}_bucket{le="0.5"}`)).to.equal('1');
    expect(series.get(`${programming}_bucket{le="120"}`)).to.equal('1');
    expect(series.get(`${programming}_bucket{le="150"}`)).to.equal('2');
    expect(series.get(`${programming}_bucket{le="300"}`)).to.equal('2');
  });

  it('add up the listeners of one Service port (H4)', async () => {
    const { metrics, sources } = fakeMetrics();
    sources.stats = {
      ...sources.stats,
      listeners: [
        listenerStats({
          servicePort: web,
          active: 1,
          total: 5,
          bytesUp: 10,
          outcomes: { closed: 3, 'dial-failed': 1 },
        }),
        listenerStats({
          servicePort: web,
          active: 2,
          total: 7,
          bytesDown: 20,
          outcomes: { closed: 4 },
          listening: false,
        }),
        listenerStats({
          servicePort: dns,
          active: 3,
          total: 9,
          datagramsUp: 11,
          datagramsDown: 12,
          datagramsDropped: 1,
        }),
      ],
    };
    const series = await scrape(metrics);
    for (const [name, value] of [
      [`kproxy_us_listeners{${WEB}}`, '1'],
      [`kproxy_us_connections_active{${WEB}}`, '3'],
      [`kproxy_us_connections_total{${WEB}}`, '12'],
      [`kproxy_us_connections_ended_total{${WEB},outcome="closed"}`, '7'],
      [`kproxy_us_connections_ended_total{${WEB},outcome="dial-failed"}`, '1'],
      [`kproxy_us_bytes_total{${WEB},direction="up"}`, '10'],
      [`kproxy_us_bytes_total{${WEB},direction="down"}`, '20'],
      [`kproxy_us_udp_flows_active{${DNS}}`, '3'],
      [`kproxy_us_udp_flows_total{${DNS}}`, '9'],
      [`kproxy_us_udp_datagrams_total{${DNS},direction="up"}`, '11'],
      [`kproxy_us_udp_datagrams_total{${DNS},direction="down"}`, '12'],
      [`kproxy_us_udp_datagrams_dropped_total{${DNS}}`, '1'],
    ] as const) {
      expect(series.get(name), name).to.equal(value);
    }
    expect(series.has(`kproxy_us_connections_active{${DNS}}`)).to.equal(false);
    expect(series.has(`kproxy_us_udp_flows_active{${WEB}}`)).to.equal(false);
  });

  it('forget a Service that went (H4)', async () => {
    const { metrics, sources } = fakeMetrics();
    sources.stats = { ...sources.stats, listeners: [listenerStats({ servicePort: web, total: 1 })] };
    expect([...(await scrape(metrics)).keys()].some((name) => name.includes('service="web"'))).to.equal(true);
    sources.stats = { ...sources.stats, listeners: [] };
    expect([...(await scrape(metrics)).keys()].filter((name) => name.includes('service="web"'))).to.deep.equal([]);
  });

  it('have no histogram per Service (H4)', async () => {
    const { metrics, sources } = fakeMetrics();
    sources.stats = {
      ...sources.stats,
      listeners: [listenerStats({ servicePort: web }), listenerStats({ servicePort: dns })],
    };
    const buckets = [...(await scrape(metrics)).keys()].filter((name) => name.includes('_bucket'));
    expect(buckets.filter((name) => name.includes('service='))).to.deep.equal([]);
  });

  it('tell of the process and of the engine (H4)', async () => {
    const { metrics, sources } = fakeMetrics();
    sources.stats = { engine: 'native', listeners: [], draining: 4, acceptPauses: 2 };
    sources.dropped = 3;
    sources.sync.partsNotServed = 5;
    sources.sync.faults.push({ servicePort: 'a/b/TCP', listener: '0.0.0.0:80', code: 'EADDRINUSE', message: 'in use' });
    const series = await scrape(metrics);
    expect(series.get('kproxy_us_build_info{version="1.2.3",engine="native",redirect="iptables"}')).to.equal('1');
    expect(series.get('kproxy_us_engine_up')).to.equal('1');
    expect(series.get('kproxy_us_draining_connections')).to.equal('4');
    expect(series.get('kproxy_us_accept_pauses_total')).to.equal('2');
    expect(series.get('kproxy_us_access_log_dropped_total')).to.equal('3');
    expect(series.get('kproxy_us_listener_faults')).to.equal('1');
    expect(series.get('kproxy_us_parts_not_served')).to.equal('5');
    expect(Number(series.get('process_resident_memory_bytes'))).to.be.above(1_000_000);
  });

  it('go without the engine where it does not answer', async () => {
    const { metrics, sources } = fakeMetrics();
    sources.engineStats = () => Promise.reject(new Error('the relay thread ended'));
    const series = await scrape(metrics);
    expect(series.get('kproxy_us_engine_up')).to.equal('0');
    expect(series.has('kubeproxy_sync_proxy_rules_service_changes_total')).to.equal(true);
  });

  it('are what promtool would read: each name described once, before its series', async () => {
    const { metrics, sources } = fakeMetrics();
    sources.stats = { ...sources.stats, listeners: [listenerStats({ servicePort: web, outcomes: { closed: 1 } })] };
    const described = new Set<string>();
    for (const line of (await metrics.scrape()).split('\n')) {
      const [, name = ''] = /^# TYPE (\S+) (?:counter|gauge|histogram|summary)$/.exec(line) ?? [];
      if (name !== '') {
        expect(described.has(name), name).to.equal(false);
        described.add(name);
      } else if (line !== '' && !line.startsWith('#')) {
        const series = line.replace(/[{ ].*$/, '').replace(/_(bucket|sum|count)$/, '');
        expect(described.has(series) || described.has(line.replace(/[{ ].*$/, '')), line).to.equal(true);
      }
    }
  });
});
