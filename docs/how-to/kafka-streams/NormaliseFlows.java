// Upstream of Vedette: raw flow records, as argus writes them (CSV), become the events that the detector of flows reads.
// A line that is no flow goes to a topic of its own, as it came. Exactly once: no event twice, none lost, whatever fails.
//
//   java -cp 'LIBS/*:OUT' NormaliseFlows SERVERS APPLICATION_ID RAW EVENTS REJECTED

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Branched;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;

public final class NormaliseFlows {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final ZoneId SENSOR = ZoneId.of("Europe/Prague"); // the sensor writes local time without an offset
    private static final DateTimeFormatter START = DateTimeFormatter.ofPattern("yyyy/MM/dd HH:mm:ss.SSSSSS");
    private static final DateTimeFormatter KNOWN =
        DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'").withZone(ZoneOffset.UTC);

    public static void main(String[] words) throws InterruptedException {
        run(words[0], words[1], topology(words[2], words[3], words[4]));
    }

    static Topology topology(String raw, String events, String rejected) {
        StreamsBuilder builder = new StreamsBuilder();
        var text = Serdes.String();
        builder.stream(raw, Consumed.with(Serdes.ByteArray(), text))
            .map((key, line) -> KeyValue.pair(line, eventOf(line))) // the line stays beside it, for what is no flow
            .split()
            .branch((line, event) -> event == null, Branched.withConsumer(
                bad -> bad.map((line, none) -> KeyValue.pair((String) null, line)).to(rejected, Produced.with(text, text))))
            .defaultBranch(Branched.withConsumer(
                // The key is the entity, the source host: its flows stay in one partition, and so do its windows.
                good -> good.map((line, event) -> KeyValue.pair(event.get("host").textValue(), written(event)))
                    .to(events, Produced.with(text, text))));
        return builder.build();
    }

    /** StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,sTos,dTos,TotPkts,TotBytes,SrcBytes[,Label]; null if it is no flow. */
    static ObjectNode eventOf(String line) {
        try {
            String[] cells = line.split(",", -1);
            double seconds = Double.parseDouble(cells[1]);
            var start = LocalDateTime.parse(cells[0], START).atZone(SENSOR).toInstant();
            ObjectNode event = JSON.createObjectNode();
            event.put("host", needed(cells[3]));
            event.put("destination", cells[6]);
            event.put("proto", needed(cells[2]));
            event.put("state", cells[8]);
            event.put("sport", port(cells[4]));
            event.put("dport", port(cells[7]));
            event.put("duration", seconds);
            event.put("packets", Long.parseLong(cells[11]));
            event.put("bytes", Long.parseLong(cells[12]));
            event.put("src_bytes", Long.parseLong(cells[13]));
            // A flow is known when it is over: that is its event time.
            event.put("event_time", KNOWN.format(start.plusNanos(Math.round(seconds * 1e6) * 1000)));
            return event;
        } catch (RuntimeException problem) { // too few cells, no number, no time
            return null;
        }
    }

    private static String needed(String cell) {
        if (cell.isBlank()) {
            throw new IllegalArgumentException("empty");
        }
        return cell;
    }

    private static long port(String cell) {
        return cell.isBlank() ? -1 : cell.startsWith("0x") ? Long.parseLong(cell.substring(2), 16) : Long.parseLong(cell);
    }

    private static String written(ObjectNode event) {
        try {
            return JSON.writeValueAsString(event);
        } catch (JsonProcessingException problem) {
            throw new IllegalStateException(problem);
        }
    }

    private static void run(String servers, String id, Topology topology) throws InterruptedException {
        Properties settings = new Properties();
        settings.putAll(Map.of(
            StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, servers,
            StreamsConfig.APPLICATION_ID_CONFIG, id,
            StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2,
            StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100,
            ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest"));
        var over = new CountDownLatch(1);
        try (KafkaStreams streams = new KafkaStreams(topology, settings)) {
            streams.setUncaughtExceptionHandler(problem -> {
                problem.printStackTrace();
                over.countDown();
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
            streams.start();
            over.await();
        }
    }
}
