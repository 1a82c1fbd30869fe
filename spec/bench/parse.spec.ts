import { expect } from 'chai';
import { parseIperf } from '../../bench/figures/bulk.js';
import { parseDnsperf } from '../../bench/figures/dns.js';
import { parseWrk } from '../../bench/figures/wrk.js';
import { parseOptions } from '../../bench/options.js';

const WRK = `Running 3s test @ http://192.168.77.1:30080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.25ms  200.10us   8.73ms   93.11%
    Req/Sec    46.70k     1.02k   48.11k    80.00%
  Latency Distribution
     50%  950.00us
     75%    1.31ms
     90%    1.52ms
     99%    2.05ms
  140123 requests in 3.00s, 20.71MB read
Requests/sec:  46700.61
Transfer/sec:      6.90MB
`;

describe('parseWrk', () => {
  it('reads counts and percentiles in one unit', () => {
    expect(parseWrk(WRK)).to.deep.equal({ requests: 140_123, requestsPerS: 46_700.61, p50Us: 950, p99Us: 2_050 });
  });

  it('gives no number where requests failed', () => {
    const errors = '  Socket errors: connect 0, read 12, write 0, timeout 3\nRequests/sec:';
    expect(() => parseWrk(WRK.replace('Requests/sec:', errors))).to.throw('read 12');
    const bad = '  Non-2xx or 3xx responses: 7\nRequests/sec:';
    expect(() => parseWrk(WRK.replace('Requests/sec:', bad))).to.throw('responses: 7');
  });

  it('gives no number where there was no request', () => {
    expect(() => parseWrk(WRK.replace('140123 requests', '0 requests'))).to.throw('wrk printed');
  });
});

describe('parseIperf', () => {
  it('counts what was received, not what was sent', () => {
    const end = { sum_sent: { bytes: 9, bits_per_second: 9 }, sum_received: { bytes: 1_250, bits_per_second: 10_000 } };
    expect(parseIperf(JSON.stringify({ end }))).to.deep.equal({ bytes: 1_250, bitsPerS: 10_000 });
  });

  it('gives no number where nothing arrived', () => {
    expect(() => parseIperf('{"end":{},"error":"unable to connect"}')).to.throw('unable to connect');
  });
});

describe('parseDnsperf', () => {
  const report = `Statistics:

  Queries sent:         1010
  Queries completed:    1000 (99.01%)
  Queries lost:         10 (0.99%)

  Run Time (s):         0.020000
  Queries per second:   50000.500000
`;

  it('reads completed and lost queries', () => {
    expect(parseDnsperf(report)).to.deep.equal({ completed: 1_000, lost: 10, perS: 50_000.5 });
  });

  it('gives no number where none was answered', () => {
    expect(() => parseDnsperf(report.replace('completed:    1000', 'completed:    0'))).to.throw('dnsperf printed');
  });
});

describe('parseOptions', () => {
  it('names the flag, the value and what was expected', () => {
    expect(() => parseOptions(['--rounds', '0'])).to.throw('--rounds 0: expected a whole number from 1 to 1000');
    expect(() => parseOptions(['--fast'])).to.throw("'--fast'");
  });

  it('lets a round count override the quick one', () => {
    const options = parseOptions(['--quick', '--rounds', '3', '--only', 'bulk,dns']);
    expect(options.rounds).to.equal(3);
    expect(options.figures).to.deep.equal(['bulk', 'dns']);
    expect(options.forwarders).to.equal(undefined);
  });
});
